/**
 * Writes `src/client/generated/`: the wire's types, as the documents of the two APIs describe them.
 *
 * Owns which parts of the documents become types, and the check that the files are the documents'. It must
 * not say anything that a document does not: run as
 *
 *     npm run generate [-- --check]
 *
 * The documents themselves are written from the server's code by `python -m local.api_documents`.
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import { parse } from "yaml";

const GENERATED = new URL("src/client/generated/", import.meta.url);
const DOCS = new URL("../docs/", import.meta.url);

/** What the library writes of a document's other parts, empty here. */
const NOT_SCHEMAS = /^export type (?:paths|webhooks|operations|\$defs)\b/;

/** @typedef {import("openapi-typescript").SchemaObject} Schema */
/** @typedef {{ components: { schemas: Record<string, Schema> } }} Document */

/** @param {string} name @returns {Promise<Document>} */
async function document(name) {
  // YAML holds all of JSON.
  return parse(await readFile(new URL(name, DOCS), "utf8"));
}

/** The schemas of a document as types. AsyncAPI's are written as OpenAPI's, so one tool reads both. */
async function types(/** @type {Document} */ { components: { schemas } }) {
  const described = { openapi: "3.1.0", info: { title: "", version: "" }, paths: {} };
  const nodes = await openapiTS(
    { ...described, components: { schemas: withoutTitles(schemas) } },
    { immutable: true, rootTypes: true, rootTypesNoSchemaPrefix: true },
  );
  const written = nodes.map((node) => astToString(node));
  return written.filter((text) => !NOT_SCHEMAS.test(text)).join("");
}

/** They only repeat the fields' names. A field that is called title is an object here. */
function withoutTitles(/** @type {Record<string, Schema>} */ schemas) {
  return JSON.parse(
    JSON.stringify(schemas, (name, value) =>
      name === "title" && typeof value === "string" ? undefined : value,
    ),
  );
}

/** A union of all frames that say in the field `tag` what they are. */
function union(
  /** @type {string} */ name,
  /** @type {string} */ tag,
  /** @type {Document} */ { components: { schemas } },
) {
  const members = Object.entries(schemas)
    .filter(([, schema]) => "properties" in schema && tag in (schema.properties ?? {}))
    .map(([frame]) => `\n  | ${frame}`);
  return `\nexport type ${name} =${members.join("")};\n`;
}

function file(/** @type {string} */ source, /** @type {string[]} */ ...parts) {
  const head = `/** Generated from docs/${source} by \`npm run generate\`: not to be changed by hand. */`;
  // The library has other habits than this package.
  const formatted = parts
    .join("")
    .replaceAll(/^( {4})+/gm, (spaces) => spaces.slice(spaces.length / 2))
    .replaceAll(/\['(\w+)'\]/g, '["$1"]');
  return `${head}\n\n${formatted}`;
}

const frames = await document("asyncapi.yaml");
const files = {
  "frames.ts": file(
    "asyncapi.yaml",
    await types(frames),
    union("Action", "action", frames),
    union("Event", "type", frames),
  ),
  "bodies.ts": file("openapi.json", await types(await document("openapi.json"))),
};

await mkdir(GENERATED, { recursive: true });
for (const [name, text] of Object.entries(files)) {
  const path = new URL(name, GENERATED);
  if ((await readFile(path, "utf8").catch(() => "")) === text) continue;
  if (process.argv.includes("--check")) {
    console.error(`chatcore: generated/${name} is not what docs/ describes: run npm run generate in web/`);
    process.exitCode = 1;
  } else {
    await writeFile(path, text);
    console.log(`Wrote web/src/client/generated/${name}`);
  }
}
