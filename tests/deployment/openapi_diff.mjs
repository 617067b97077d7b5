// What a new document of the API takes away from whoever was written for the old one: openapi_diff.mjs OLD NEW
import {readFileSync} from 'node:fs';
import {apiDiff} from 'api-smart-diff';

const [before, after] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, 'utf8')));
const breaking = apiDiff(before, after).filter((one) => one.type === 'breaking');
for (const one of breaking) console.log(one.description ?? `${one.action} ${one.path.join('/')}`);
process.exit(breaking.length ? 1 : 0);
