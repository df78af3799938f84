// import_map.ts DENO_STD OUT: writes the import map that stands in for JSR.
// Deno-std on npm is the standard library's path, cli and assert as JavaScript;
// what it lacks stands in this folder. Everything gets a copy outside of
// node_modules, so that Deno takes it for plain modules.
import { pathToFileURL } from "node:url";

const [std, out] = Deno.args as [string, string];
const here = new URL(".", import.meta.url);
const copy = pathToFileURL(`${out.replace(/\.json$/, "")}/`);

function* modules(folder: string, prefix = ""): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* modules(`${folder}/${name}`, `${prefix}${name}/`);
    else if (name.endsWith(".js")) yield prefix + name;
  }
}

const imports: Record<string, string> = {};
for (const name of ["path", "cli", "assert", "internal", "fmt"]) {
  for (const file of modules(`${std}/${name}`)) {
    const target = new URL(`${name}/${file}`, copy);
    Deno.mkdirSync(new URL(".", target), { recursive: true });
    Deno.copyFileSync(`${std}/${name}/${file}`, target);
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
const temporary = `${out}.${Deno.pid}`;
Deno.writeTextFileSync(temporary, JSON.stringify({ imports }));
Deno.renameSync(temporary, out);
