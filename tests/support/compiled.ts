import { fromFileUrl } from "@std/path/from-file-url";
import { must } from "./command.ts";
import { TempDir } from "./temp_dir.ts";

let dir: TempDir | undefined;
const binaries = new Map<string, Promise<string>>();

/**
 * The path of a C program of tests/support, compiled once a test process. The test
 * needs `cc`.
 */
export function compiled(source: string): Promise<string> {
  let binary = binaries.get(source);
  if (!binary) {
    binary = compile(source);
    binaries.set(source, binary);
  }
  return binary;
}

async function compile(source: string): Promise<string> {
  dir ??= openDir();
  const binary = dir.at(source.replace(/\.c$/, ""));
  const path = fromFileUrl(new URL(source, import.meta.url));
  await must("cc", "-O2", "-Wall", "-o", binary, path);
  return binary;
}

/** It outlives the tests that use it, and goes with the process. */
function openDir(): TempDir {
  const made = TempDir.make();
  addEventListener("unload", () => {
    Deno.removeSync(made.path, { recursive: true });
  });
  return made;
}
