// KEDA's and the External Secrets Operator's objects, as JSON on stdin, by those operators' own definitions.
import {readFileSync, readdirSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const packages = {
  'keda.sh/v1alpha1': '@kubernetes-models/keda/keda.sh/v1alpha1/',
  'external-secrets.io/v1': '@kubernetes-models/external-secrets/external-secrets.io/v1/',
};
const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules');
const free = ['metadata']; // of an object, and of a trigger: whatever that kind of trigger takes
// Of the built-in API, which KEDA hands on.
const builtIn = ['stabilizationWindowSeconds', 'policies', 'value', 'periodSeconds', 'scaleDown', 'scaleUp', 'type'];

function* fields(value) {
  if (Array.isArray(value)) for (const one of value) yield* fields(one);
  else if (value && typeof value === 'object') {
    for (const [key, inner] of Object.entries(value)) {
      yield key;
      if (!free.includes(key)) yield* fields(inner);
    }
  }
}

let found = 0;
const complain = (object, text) => {
  console.log(`${object.kind} ${object.metadata.name}: ${text}`);
  found += 1;
};
for (const object of JSON.parse(readFileSync(0, 'utf8'))) {
  const folder = packages[object.apiVersion];
  const library = await import(`${folder}${object.kind}`);
  try {
    new library[object.kind](object).validate();
  } catch (error) {
    complain(object, error.message);
  }
  // Their validators take unknown fields, a cluster does not.
  const declared = readdirSync(join(modules, folder))
    .filter((name) => name.endsWith('.d.ts'))
    .map((name) => readFileSync(join(modules, folder, name), 'utf8'))
    .join('');
  for (const field of fields(object)) {
    if (!builtIn.includes(field) && !declared.includes(`"${field}"`)) complain(object, `no field ${field}`);
  }
}
process.exit(found ? 1 : 0);
