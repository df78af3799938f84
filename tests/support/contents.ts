/** What lies at a path and below: kind, access, and every byte (as its digest). */
export type Contents = Record<string, string>;

/**
 * Reads all that there is at `top`; nothing at all if there is nothing.
 *
 * @param linked Absolute symbolic links that begin with the first are looked
 * through, at what lies below the second: for a tree in mode `symlink`.
 */
export async function contentsOf(
  top: string,
  linked?: readonly [seen: string, real: string],
): Promise<Contents> {
  const contents: Contents = {};
  const look = async (path: string, name: string): Promise<void> => {
    const it = Deno.lstatSync(path);
    const access = (it.mode! & 0o7777).toString(8);
    if (it.isSymlink) {
      const target = Deno.readLinkSync(path);
      if (!linked || !target.startsWith(linked[0])) {
        contents[name] = `symlink to ${target}`;
      } else await look(linked[1] + target.slice(linked[0].length), name);
    } else if (it.isDirectory) {
      contents[name] = `directory ${access}`;
      for (const entry of Deno.readDirSync(path)) {
        await look(`${path}/${entry.name}`, `${name}/${entry.name}`);
      }
    } else {
      const bytes = Deno.readFileSync(path);
      const digest = await crypto.subtle.digest("SHA-256", bytes);
      contents[name] = `file ${access} of ${bytes.length} bytes, ` +
        new Uint8Array(digest).toHex();
    }
  };
  try {
    Deno.lstatSync(top);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return contents;
    throw error;
  }
  await look(top, ".");
  return sorted(contents);
}

function sorted(contents: Contents): Contents {
  return Object.fromEntries(
    Object.entries(contents).sort(([a], [b]) => a < b ? -1 : 1),
  );
}

/** Whether both are the same, to the last byte. */
export function same(a: Contents, b: Contents): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Makes a tree of all ordinary kinds; its files say `version`. */
export function makeTree(at: string, version: string): void {
  for (const name of ["sub/deep", "empty directory", "many"]) {
    Deno.mkdirSync(`${at}/${name}`, { recursive: true });
  }
  const files = {
    "file": version,
    "empty": "",
    "program": `#!/bin/sh\necho ${version}\n`,
    "sub/deep/file": `${version}, deep`,
    // More than one request's worth.
    "big": `${version} `.repeat(60_000),
  };
  for (const [name, text] of Object.entries(files)) {
    Deno.writeTextFileSync(`${at}/${name}`, text);
  }
  Deno.chmodSync(`${at}/program`, 0o755);
  // More than one request's worth of names.
  for (let i = 0; i < 24; i++) {
    Deno.writeTextFileSync(`${at}/many/a-file-${i}`, `${version} ${i}`);
  }
  Deno.linkSync(`${at}/file`, `${at}/sub/second name`);
  Deno.symlinkSync("../file", `${at}/sub/symlink`);
}
