// node read.mjs STORE: opens a trace store with npm's zarrita and prints what it finds of each array
// (shape, type, sum of its values, first and last ones) as one JSON object.
import { FileSystemStore } from "@zarrita/storage";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as zarr from "zarrita";

const path = process.argv[2];
if (path === undefined) {
  console.error("usage: node read.mjs STORE");
  process.exit(2);
}

async function arrays(folder, prefix = "") {
  const found = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const name = prefix + entry.name;
    if (name === "request" || name === "row") found.push(...(await arrays(join(folder, entry.name), name + "/")));
    else found.push(name);
  }
  return found;
}

const root = await zarr.open(zarr.root(new FileSystemStore(path)), { kind: "group" });
const result = { attributes: root.attrs, arrays: {} };
for (const name of await arrays(path)) {
  const array = await zarr.open(root.resolve(name), { kind: "array" });
  const empty = array.shape.includes(0);
  const values = empty ? [] : Array.from((await zarr.get(array)).data, Number);
  result.arrays[name] = {
    shape: array.shape,
    dtype: array.dtype,
    attributes: array.attrs,
    sum: values.reduce((sum, value) => (Number.isNaN(value) ? sum : sum + value), 0),
    first: values.slice(0, 8).map((value) => (Number.isNaN(value) ? null : value)),
    last: values.slice(-8).map((value) => (Number.isNaN(value) ? null : value)),
  };
}
console.log(JSON.stringify(result));
