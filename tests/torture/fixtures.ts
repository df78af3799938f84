// What an operation finds: a source, an old tree, caches.
import { must } from "../support/command.ts";
import { Tortured } from "../support/tortured.ts";

/** What stays from run to run. */
export const KEPT = [
  ...["source", "pristine", "template"],
  ...["cache", "cache-old", "cache-without", "cache-damaged"],
];

/** Makes all of it below `at`. */
export async function makeFixtures(at: string): Promise<void> {
  for (const name of ["source/a", "source/b", "source/fixed", "template/sub"]) {
    Deno.mkdirSync(`${at}/${name}`, { recursive: true });
  }
  const source = `${at}/source`;
  Deno.writeTextFileSync(`${source}/a/one`, "in a", { mode: 0o640 });
  Deno.linkSync(`${source}/a/one`, `${source}/a/two`);
  Deno.writeTextFileSync(`${source}/b/three`, "in b");
  Deno.writeTextFileSync(`${source}/b/empty`, "");
  Deno.symlinkSync("../a/one", `${source}/b/link`);
  Deno.writeTextFileSync(`${source}/fixed/four`, "in fixed");
  if (Deno.uid() === 0) Deno.chownSync(`${source}/b/three`, 1234, 1234);
  Deno.chmodSync(`${source}/b/three`, 0o755);
  // Not every file system has them.
  await must("setfattr", "-n", "user.origin", "-v", "here", `${source}/b/three`)
    .catch(() => {});
  await must("touch", "-d", "2001-02-03 04:05:06.789012345", `${source}/a/one`);
  await must(
    "touch",
    "-hd",
    "2002-02-03 04:05:06.789012345",
    `${source}/b/link`,
  );
  Deno.chmodSync(`${source}/fixed`, 0o555);

  await must("cp", "-a", source, `${at}/pristine`);

  const old = `${at}/template`;
  Deno.mkdirSync(`${old}/b`);
  Deno.writeTextFileSync(`${old}/b/three`, "old in b");
  Deno.writeTextFileSync(`${old}/sub/old`, "old in sub");
  Deno.writeTextFileSync(`${old}/old`, "old at the top");
  // Nobody may follow it.
  Deno.symlinkSync("../source/a", `${old}/outside`);
  Deno.chmodSync(old, 0o750);

  await using peer = await Tortured.start();
  const ask = async (...request: unknown[]) => {
    const answer = await peer.ask(request);
    if (!answer?.done) throw new Error(JSON.stringify(answer));
    return answer.done as Record<string, string>;
  };
  await ask("putOther", at);
  await must("cp", "-a", `${at}/there`, `${at}/cache-without`);
  Deno.removeSync(`${at}/there`, { recursive: true });
  await ask("put", at, { from: "template" });
  await ask("putOther", at);
  await must("cp", "-a", `${at}/there`, `${at}/cache-old`);
  // A key that is replaced leaves something that no key points to.
  await ask("put", at);
  await ask("putOther", at);
  await must("cp", "-a", `${at}/there`, `${at}/cache`);
  const { key } = await ask("where", at);
  // A bit that flipped: neither the size nor the times tell.
  await must("touch", "-r", `${key}/a/one`, `${at}/times`);
  using file = Deno.openSync(`${key}/a/one`, { write: true });
  file.writeSync(new TextEncoder().encode("IN A"));
  await must("touch", "-r", `${at}/times`, `${key}/a/one`);
  await must("cp", "-a", `${at}/there`, `${at}/cache-damaged`);
  clean(at);
}

/** Lets the remote have what `cache` has under the key. */
export async function pushSource(at: string): Promise<void> {
  await must("cp", "-a", `${at}/cache`, `${at}/there`);
  await using peer = await Tortured.start();
  const answer = await peer.ask(["push", at]);
  if (!answer?.done) throw new Error(JSON.stringify(answer));
  clean(at);
}

/** Makes the source as it was, so that what harmed it is blamed once. */
export async function restoreSource(at: string): Promise<void> {
  Deno.removeSync(`${at}/source`, { recursive: true });
  await must("cp", "-a", `${at}/pristine`, `${at}/source`);
}

/** Removes all but what is kept, and `but`. */
export function clean(at: string, but: readonly string[] = []): void {
  for (const { name } of Deno.readDirSync(at)) {
    if (KEPT.includes(name) || but.includes(name)) continue;
    try {
      Deno.removeSync(`${at}/${name}`, { recursive: true });
    } catch (error) {
      // A mount point stays, empty.
      if ([...Deno.readDirSync(`${at}/${name}`)].length > 0) throw error;
    }
  }
}

/** Names that nobody knows, or that should be gone by now. */
export function leftIn(at: string): string[] {
  const left: string[] = [];
  const visit = (path: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(path)) {
      const below = `${path}/${name}`;
      const leftover = /\.(stale|partial|holder)-/.test(name) ||
        path === `${at}/there/tmp`;
      if (leftover) left.push(below);
      else if (isDirectory) visit(below);
    }
  };
  for (const { name, isDirectory } of Deno.readDirSync(at)) {
    if (KEPT.includes(name)) continue;
    const path = `${at}/${name}`;
    const known = /^(there|out|extra)(\..*lock)?$/.test(name);
    if (!known) left.push(path);
    else if (isDirectory) visit(path);
  }
  return left;
}
