// What every page has: the reader's zone and colours, copying, asking before what cannot be undone.

const YEAR_S = 365 * 24 * 3600;

function remember(name, value) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${name}=${value}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax${secure}`;
}

function remembered(name) {
  const found = document.cookie.split("; ").find((one) => one.startsWith(`${name}=`));
  return found ? found.slice(name.length + 1) : "";
}

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && remembered("zone") !== zone) remember("zone", zone);

for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember("theme", root.dataset.theme);
    document.dispatchEvent(new Event("theme-changed"));
  });
}

// The menu of narrow screens.
const menu = document.querySelector("details.menu");
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && menu?.open) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("click", async (event) => {
  const copier = event.target.closest("[data-copy]");
  if (copier) {
    const source = document.getElementById(copier.dataset.copy);
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    const label = copier.querySelector("span") ?? copier;
    const before = label.textContent;
    label.textContent = copier.dataset.copied;
    setTimeout(() => (label.textContent = before), 1500);
  }
});

document.addEventListener("submit", (event) => {
  const asks = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (asks && !confirm(asks)) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}, true);

// Tabs: one of several panels.
for (const list of document.querySelectorAll("[role=tablist]")) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const show = (chosen) => {
    for (const tab of tabs) {
      const is = tab === chosen;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !is;
    }
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) show(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    show(next);
  });
}

// What the server would not do, or could not be asked: said once, wherever on the page it was asked for.
const notice = document.getElementById("notice");
document.addEventListener("htmx:responseError", (event) => {
  const { status, responseText } = event.detail.xhr;
  if (status >= 400 && status < 500 && status !== 401 && status !== 429) return; // shown in its place
  let said = status === 401 ? notice.dataset.ended : notice.dataset.lost;
  try {
    said = JSON.parse(responseText).detail ?? said;
  } catch {
    // A proxy's page, which says nothing to anybody.
  }
  notice.textContent = said;
  notice.hidden = false;
});
for (const kind of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(kind, () => {
    notice.textContent = notice.dataset.lost;
    notice.hidden = false;
  });
}
document.addEventListener("htmx:beforeSwap", () => (notice.hidden = true));
