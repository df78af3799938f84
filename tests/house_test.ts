/** How the house is built: see CONTRIBUTING.md. */

import { assertEquals } from "@std/assert";
import { relative } from "@std/path/relative";
import { fromFileUrl } from "@std/path/from-file-url";
import { ROOT } from "./support/command.ts";
import { exists } from "./support/until.ts";

/** From the ground up. Who lives on a floor knows those below, and its own. */
const FLOORS = [
  ["os", "log.ts", "error.ts"],
  ["fs"],
  ["lock"],
  ["link"],
  ["clear"],
  ["rebuild"],
  ["cache"],
  ["remote"],
  ["cli"],
];

function floorOf(path: string): number {
  const [room] = path.split("/");
  return FLOORS.findIndex((rooms) => rooms.includes(room!));
}

function* filesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* filesBelow(path);
    else if (name.endsWith(".ts")) yield path;
  }
}

/** What a module imports of ours, now or later. */
const IMPORT =
  /^(?:import|export)\b[^;]*?\bfrom "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)|^import "(\.[^"]+)"|new URL\("(\.[^"]+\.ts)"/gm;

/** The paths in lib/ of what a module of it imports. */
function importsOf(file: string): string[] {
  const text = Deno.readTextFileSync(file)
    // Examples are in comments.
    .replaceAll(/^\s*(?:\/\*\*[^]*?\*\/|\/\/.*)$/gm, "");
  return [...text.matchAll(IMPORT)].map((match) => {
    const to = match[1] ?? match[2] ?? match[3] ?? match[4]!;
    const url = new URL(to, `file://${file}`);
    return relative(`${ROOT}/lib`, fromFileUrl(url)).replaceAll("\\", "/");
  });
}

Deno.test("lib/ imports nothing upward, and every room has its floor", () => {
  const wrong: string[] = [];
  let imports = 0;
  for (const file of filesBelow(`${ROOT}/lib`.replaceAll("\\", "/"))) {
    const path = relative(`${ROOT}/lib`, file).replaceAll("\\", "/");
    const floor = floorOf(path);
    if (floor < 0) wrong.push(`${path} is on no floor`);
    for (const imported of importsOf(file)) {
      imports++;
      // The version is in deno.json.
      if (imported.startsWith("../")) {
        if (imported !== "../deno.json") wrong.push(`${path} → ${imported}`);
      } else if (floorOf(imported) > floor) {
        wrong.push(`${path} → ${imported}`);
      }
    }
  }
  assertEquals(wrong, []);
  assertEquals(imports > 200, true, `only ${imports} imports were found`);
});

Deno.test("lib/ has nothing of the old house", () => {
  assertEquals(exists(`${ROOT}/lib/old`), false);
});
