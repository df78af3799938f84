// What the model's processes put into the cache: every byte, name and mode follows
// from the key and the version, so that whoever reads it can tell a foreign one.
import { hash, Seeded } from "./seeded.ts";

/** What was read: whose it says it is, and what does not belong there. */
export interface Content {
  readonly key: string;
  readonly version: string;
  readonly wrong: readonly string[];
}

const ABOUT = "about";

/** Writes the tree of a version into an empty directory. */
export function writeTree(at: string, key: string, version: string): void {
  Deno.writeTextFileSync(`${at}/${ABOUT}`, text(key, version, ABOUT));
  for (const { name, mode, link } of namesOf(version)) {
    const path = `${at}/${name}`;
    Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    if (link !== undefined) Deno.symlinkSync(link, path);
    else {
      Deno.writeTextFileSync(path, text(key, version, name));
      Deno.chmodSync(path, mode);
    }
  }
}

/** Writes the single file of a version. */
export function writeFile(at: string, key: string, version: string): void {
  Deno.writeTextFileSync(at, text(key, version, ABOUT));
}

/** Reads a tree or a single file. */
export function readContent(at: string): Content {
  const isFile = Deno.lstatSync(at).isFile;
  const about = Deno.readTextFileSync(isFile ? at : `${at}/${ABOUT}`);
  const [key = "", version = ""] = about.split(" ");
  const wrong: string[] = [];
  const compare = (name: string, found: string, expected: string) => {
    if (found === expected) return;
    wrong.push(`${name}: ${JSON.stringify(found.slice(0, 60))}`);
  };
  compare(ABOUT, about, text(key, version, ABOUT));
  if (isFile) return { key, version, wrong };
  const names = namesOf(version);
  for (const { name, mode, link } of names) {
    const path = `${at}/${name}`;
    try {
      if (link !== undefined) {
        compare(name, Deno.readLinkSync(path), link);
        continue;
      }
      compare(name, Deno.readTextFileSync(path), text(key, version, name));
      const bits = Deno.lstatSync(path).mode! & 0o100;
      if (bits !== (mode & 0o100)) wrong.push(`${name}: mode ${mode}`);
    } catch (error) {
      wrong.push(`${name}: ${error}`);
    }
  }
  const known = new Set([ABOUT, ...names.map(({ name }) => name)]);
  const foreign = filesBelow(at).filter((name) => !known.has(name));
  wrong.push(...foreign.map((name) => `${name} is not of it`));
  return { key, version, wrong };
}

/** What a blob has in it. */
export function blobText(number: number): string {
  return `blob ${number} `.repeat(10 + hash(`blob ${number}`) % 2000);
}

/** The names of all files and links below a directory. */
export function filesBelow(at: string, prefix = ""): string[] {
  return [...Deno.readDirSync(at)].flatMap(({ name, isDirectory }) =>
    isDirectory
      ? filesBelow(`${at}/${name}`, `${prefix}${name}/`)
      : [`${prefix}${name}`]
  );
}

interface Name {
  readonly name: string;
  readonly mode: number;
  readonly link?: string;
}

function namesOf(version: string): Name[] {
  const seeded = new Seeded(version);
  return Array.from({ length: 1 + seeded.below(12) }, (_, i) => {
    const name = `${"d/".repeat(seeded.below(4))}${seeded.below(3)}/f${i}`;
    const mode = seeded.below(4) ? 0o644 : 0o755;
    if (seeded.below(8)) return { name, mode };
    return { name, mode, link: `to ${version}` };
  });
}

/** Some are empty; most are short; some have several blocks. */
function text(key: string, version: string, name: string): string {
  const size = hash(`${version} ${name}`);
  if (name !== ABOUT && size % 16 === 0) return "";
  const times = size % 5 ? 1 + size % 50 : 1 + size % 1000;
  return `${key} ${version} ${name} `.repeat(times) + "end";
}
