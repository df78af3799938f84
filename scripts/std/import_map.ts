// import_map.ts DENO_STD OUT: writes the import map that stands in for JSR.
// Deno-std on npm is the standard library's path, cli and assert as JavaScript;
// what it lacks stands in this folder.
import { pathToFileURL } from "node:url";

const [std, out] = Deno.args as [string, string];
const here = new URL(".", import.meta.url);
// Outside of node_modules, Deno takes the copies for plain modules.
const copies = pathToFileURL(`${std}/../../modules/`);

function* modules(folder: string, prefix = ""): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* modules(`${folder}/${name}`, `${prefix}${name}/`);
    else if (name.endsWith(".js")) yield prefix + name;
  }
}

/** Copies a module, and declares what it exports as `any`: npm has no types. */
async function copy(file: string, to: URL): Promise<void> {
  const source = Deno.readTextFileSync(`${std}/${file}`);
  const types = new URL(to.href.replace(/js$/, "d.ts"));
  const exported = Object.keys(
    await import(pathToFileURL(`${std}/${file}`).href),
  );
  Deno.mkdirSync(new URL(".", to), { recursive: true });
  Deno.writeTextFileSync(
    types,
    exported.map((name) => `export const ${name}: any;\n`).join("") ||
      "export {};\n",
  );
  const reference = `/* @ts-self-types="./${
    types.pathname.split("/").at(-1)
  }" */`;
  const temporary = new URL(`${to.href}.${Deno.pid}`);
  Deno.writeTextFileSync(temporary, `${reference}\n${source}`);
  Deno.renameSync(temporary, to);
}

const imports: Record<string, string> = {};
for (const name of ["path", "cli", "assert", "internal", "fmt"]) {
  for (const file of modules(`${std}/${name}`)) {
    // The npm package lacks a table that these need.
    if (
      /^(mod|unicode_width|_prompt_select|prompt_.*)\.js$/.test(file) &&
      name === "cli"
    ) continue;
    const target = new URL(`${name}/${file}`, copies);
    try {
      Deno.lstatSync(target);
    } catch {
      await copy(`${name}/${file}`, target);
    }
    const specifier = file.replace(/(^|\/)mod\.js$|\.js$/, "")
      .replaceAll("_", "-");
    imports[`@std/${name}${specifier && `/${specifier}`}`] = target.href;
  }
}
for (
  const [specifier, file] of Object.entries({
    "@std/fs/walk": "fs_walk.ts",
    "@std/log/logger": "log_logger.ts",
    "@std/log/base-handler": "log_base_handler.ts",
    "@std/log/levels": "log_levels.ts",
  })
) {
  imports[specifier] = new URL(file, here).href;
}
const root = new URL("../../", here);
const { name, exports, imports: wanted } = JSON.parse(
  Deno.readTextFileSync(new URL("deno.json", root)),
);
for (const [path, file] of Object.entries<string>(exports)) {
  imports[name + path.slice(1)] = new URL(file, root).href;
}
for (const [specifier, from] of Object.entries<string>(wanted)) {
  if (!from.startsWith("npm:")) continue;
  imports[specifier] = from;
  // A map must say what deno.json knows: what is below the package is the package's.
  imports[`${specifier}/`] = from.replace("npm:", "npm:/") + "/";
}
const temporary = `${out}.${Deno.pid}`;
Deno.writeTextFileSync(temporary, JSON.stringify({ imports }));
Deno.renameSync(temporary, out);
