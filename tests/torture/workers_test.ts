// A tree that is big enough for a worker, with an error at a call of any thread: the
// link fails, or it is whole. Which thread makes a call is not known before, so a call
// is named by the path that it is about, which no other has.
import { assert } from "@std/assert/assert";
import { test } from "../support/needs.ts";
import { difference, type Look, look, lookAtAll } from "../support/snapshot.ts";
import { TempDir } from "../support/temp_dir.ts";
import { Tortured } from "../support/tortured.ts";
import { ERRORS, injection } from "./faults.ts";

const STRESS = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;

/** Directories, of so many files each: more than what one thread does alone. */
const DIRECTORIES = 80;
const FILES = 60;

/** Calls about a source, in whatever way a link is made. */
const READS = ["getdents64", "openat", "close"];

const WAYS: [name: string, options: object, calls: readonly string[]][] = [
  ["hardlink", { mode: "hardlink" }, [...READS, "linkat"]],
  ["copy", { mode: "copy" }, [
    ...READS,
    ...["read", "copy_file_range", "sendfile"],
  ]],
  ["merge", { mode: "copy", ifExists: "merge" }, READS],
  ["replace", { mode: "hardlink", ifExists: "replace" }, READS],
];

/** No name is there twice, so that one alone says which file is meant. */
function makeTree(root: string): string[] {
  const directories: string[] = [];
  for (let d = 0; d < DIRECTORIES; d++) {
    const directory = `${root}/${d % 4}/directory-${d}`;
    Deno.mkdirSync(directory, { recursive: true });
    for (let f = 0; f < FILES; f++) {
      Deno.writeTextFileSync(`${directory}/file-${d}-${f}`, `${d} ${f}`);
    }
    directories.push(directory);
  }
  return directories;
}

for (const [name, options, calls] of WAYS) {
  test(
    `linkTree() fails or is whole when a call of any thread fails, by ${name}`,
    ["linux", "strace", "getfattr"],
    async () => {
      await using dir = TempDir.make();
      const at = dir.path;
      const directories = makeTree(`${at}/source`);
      const there = "ifExists" in options;
      const prepare = async () => {
        await Deno.remove(`${at}/there`, { recursive: true }).catch(() => {});
        if (there) dir.write({ there: { old: "old" } });
      };
      const request = ["link", at, { jobs: 2, ...options }];
      const state = () => {
        const found = look(`${at}/there`);
        const merged = name === "merge";
        // What a merge that failed has not come to yet.
        return { found, plain: merged ? plainly(found) : found };
      };
      await prepare();
      const before = state().plain;
      await using peer = await Tortured.start();
      const whole = await peer.ask(request);
      const after = state().plain;
      const source = await lookAtAll(`${at}/source`);
      const wrong: string[] = [];
      const tally = { main: 0, others: 0, failed: 0, whole: 0, missed: 0 };
      let turn = crypto.getRandomValues(new Uint16Array(1))[0]!;
      // Until a worker was hit, whoever is faster today.
      const enough = STRESS ? 40 : 2;
      for (let n = 0; n < 40 && (n < enough || tally.others === 0); n++) {
        // What comes last is most probably a worker's.
        const directory = directories[directories.length - 1 - n * 5 % 77]!;
        const files = [...Deno.readDirSync(directory)].map((it) => it.name);
        const file = files[n % files.length]!;
        for (const call of calls) {
          const all = [...Object.keys(ERRORS), "KILL"];
          const errno = all[turn++ % all.length]!;
          await prepare();
          const ofFile = [`${directory}/${file}`, file];
          const ofDirectory = [directory, directory.split("/").at(-1)!];
          const about = !READS.includes(call)
            ? [...ofDirectory, ...ofFile]
            : n % 2 === 0 || call === "getdents64"
            ? ofDirectory
            : ofFile;
          const trace = {
            calls: [call],
            inject: injection({ threads: "main", call, nth: 1, fault: errno }),
            paths: about,
          } as const;
          const { answer, calls: made } = await Tortured.once(request, trace);
          // Of a kill, the call that never ended is the last.
          const hit = errno !== "KILL"
            ? made.filter(({ injected }) => injected)
            : made.slice(answer ? made.length : -1);
          if (hit.length === 0) {
            tally.missed++;
            continue;
          }
          tally[hit.some(({ main }) => !main) ? "others" : "main"]++;
          const { found, plain } = state();
          const what = `${call} ${errno} of ${about[0]}: ${
            JSON.stringify(answer ?? "crashed").slice(0, 600)
          }`;
          if (answer?.done) {
            tally.whole++;
            const not = difference(plain, after);
            if (not) wrong.push(`${what}: it is not whole: ${not}`);
          } else {
            tally.failed++;
            const not = name === "merge"
              ? mixed(plain, before, after)
              : difference(found, before) && difference(found, after);
            if (not) wrong.push(`${what}: neither old nor new: ${not}`);
            const { kind } = answer?.error ?? {};
            if (answer && !ERRORS[errno]!.includes(kind ?? "none")) {
              wrong.push(`${what}: ${errno} became ${kind}`);
            }
          }
        }
      }
      await prepare();
      const next = await peer.ask(request);
      if (!next?.done) wrong.push(`the next run: ${JSON.stringify(next)}`);
      const names = [...Deno.readDirSync(at)].map((it) => it.name)
        .filter((it) => !/^(source|there)(\..*lock)?$/.test(it));
      if (names.length > 0) wrong.push(`the next run leaves ${names}`);
      await prepare();
      await Deno.remove(`${at}/there`, { recursive: true }).catch(() => {});
      const harm = difference(
        withoutLinks(await lookAtAll(`${at}/source`)),
        withoutLinks(source),
      );
      if (harm) wrong.push(`the source was changed: ${harm}`);
      // deno-lint-ignore no-console -- figures to tell
      console.log(`${name} with workers: ${JSON.stringify(tally)}`);
      if (wrong.length > 0) throw new Error(wrong.join("\n"));
      const { threads } = whole!.done as { threads: number };
      assert(threads < 2 || tally.others > 0, "no worker was ever hit");
    },
  );
}

/** How many names a file has depends on whether a destination stands. */
function withoutLinks(all: Look): Look {
  return Object.fromEntries(
    Object.entries(all).map(([path, what]) => [
      path,
      what.replace(/ \d+ links/, ""),
    ]),
  );
}

function plainly(trees: Look): Look {
  return Object.fromEntries(
    Object.entries(trees).map(([path, what]) => [
      path,
      what.replace(/^\d+ directory$/, "directory"),
    ]),
  );
}

function mixed(is: Look, before: Look, after: Look): string | undefined {
  for (const path of Object.keys({ ...is, ...before })) {
    if (is[path] === before[path] || is[path] === after[path]) continue;
    return `"${path}" is ${is[path]}`;
  }
  return undefined;
}
