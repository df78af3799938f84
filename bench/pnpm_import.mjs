// node pnpm_import.mjs IMPORTER METHOD SRC DST: puts a tree in place by pnpm's
// importer, which is given a map of all files, as pnpm's store has it.
import { createRequire } from "node:module";
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import process from "node:process";

const [importer, method, source, destination] = process.argv.slice(2);
const { createIndexedPkgImporter } = createRequire(join(importer, "x"))(
  "@pnpm/fs.indexed-pkg-importer",
);
const files = {};
const entries = readdirSync(source, { recursive: true, withFileTypes: true });
for (const entry of entries) {
  const path = join(entry.parentPath, entry.name);
  if (entry.isFile()) files[relative(source, path)] = path;
}
createIndexedPkgImporter(method)(destination, {
  filesMap: files,
  force: false,
  resolvedFrom: "store",
});
