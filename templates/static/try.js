// Sends the examples of the reference, with the reader's own session.

const token = JSON.parse(document.body.getAttribute("data-hx-headers"))["X-CSRFToken"];

for (const form of document.querySelectorAll("[data-try]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { method, asks } = form.dataset;
    if (method !== "GET" && !confirm(asks)) return;
    let path = form.dataset.path;
    const query = new URLSearchParams();
    for (const field of form.querySelectorAll("[data-in]")) {
      if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
      else if (field.value) query.set(field.name, field.value);
    }
    const body = form.querySelector("[data-body]")?.value;
    const answer = form.querySelector(".answer");
    const status = answer.querySelector("[data-status]");
    const shown = answer.querySelector("code");
    answer.hidden = false;
    status.textContent = "…";
    shown.textContent = "";
    try {
      const reply = await fetch(query.size ? `${path}?${query}` : path, {
        method,
        headers: { "X-CSRFToken": token, ...(body ? { "Content-Type": "application/json" } : {}) },
        body,
      });
      status.textContent = `${reply.status} ${reply.statusText}`;
      status.className = `tag ${reply.ok ? "good" : "bad"}`;
      const text = await reply.text();
      try {
        shown.textContent = JSON.stringify(JSON.parse(text), null, 2);
      } catch {
        shown.textContent = text.slice(0, 5000);
      }
    } catch (error) {
      status.textContent = error.message;
      status.className = "tag bad";
    }
  });
}
