/**
 * A file system of our own (FUSE) that loses, lies and fails: every command has to
 * say so, or to be complete to the last byte, and to leave its source alone.
 * `REBUILD_CACHE_STRESS=1` tries all errors, and 200 seeds.
 */

import { assert, assertEquals } from "@std/assert";
import { denoRun, type Ran, run, runCli } from "./support/command.ts";
import { contentsOf, makeTree } from "./support/contents.ts";
import {
  ERRNO,
  type Faults,
  FAULTY_FS_NEEDS,
  FaultyFs,
} from "./support/faulty_fs.ts";
import { type Job, runJob } from "./support/faulty_job.ts";
import { JOBS } from "./support/faulty_jobs.ts";
import { mountTest } from "./support/mounts.ts";
import type { TempDir } from "./support/temp_dir.ts";

const STRESS = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;
const here = import.meta.url;
const { ENOSPC, EDQUOT, EIO, EEXIST, EPERM } = ERRNO;

/** One run to try, and what is wanted of it beyond no loss. */
interface Try {
  job: Job;
  faults: Faults;
  wants?: (ran: Ran) => void;
}

/** Makes every run, and tells of all that lost something. */
async function tryAll(
  dir: TempDir,
  tries: Iterable<Try> | AsyncIterable<Try>,
  fs: FaultyFs,
): Promise<void> {
  const wrong: string[] = [];
  const codes: Record<number, number> = {};
  let [runs, hit] = [0, 0];
  for await (const { job, faults, wants } of tries) {
    runs++;
    try {
      const { ran, struck } = await runJob(fs, dir.path, job, faults);
      codes[ran.code] = (codes[ran.code] ?? 0) + 1;
      if (struck.length > 0) hit++;
      try {
        wants?.(ran);
      } catch (error) {
        throw new Error(`${job.name}, ${JSON.stringify(faults)}: ${error}`);
      }
    } catch (error) {
      wrong.push((error as Error).message);
    }
  }
  const sum = `${runs} runs, ${hit} right with faults; exit codes ` +
    JSON.stringify(codes);
  // deno-lint-ignore no-console -- figures to tell
  if (STRESS) console.log(sum);
  if (wrong.length > 0) {
    throw new Error(`${wrong.length} of ${sum}\n\n${wrong.join("\n\n")}`);
  }
  assert(hit > 0, `no fault has struck: ${sum}`);
}

/** Each job with each of the faults; in the short form with one of them, in turn. */
function* each(jobs: readonly Job[], ...all: Faults[]): Generator<Try> {
  for (const [i, job] of jobs.entries()) {
    for (const faults of STRESS ? all : [all[i % all.length]!]) {
      yield { job, faults };
    }
  }
}

/** The short form leaves out modes that another stands for. */
const CHOSEN = STRESS
  ? JOBS
  : JOBS.filter(({ name }) => !/--mode (hardlink|symlink)/.test(name));
/** What only reads a cache writes little that could be lost or stand in the way. */
const WRITING = STRESS
  ? JOBS
  : CHOSEN.filter(({ name }) =>
    /^(link.*(destination|both)|clear|put|ensure, a miss)/.test(name)
  );

function succeeds({ code, stderr }: Ran): void {
  assertEquals(code, 0, stderr);
}

mountTest(
  here,
  "rebuild-cache reports an error when what it has written is lost at close",
  FAULTY_FS_NEEDS,
  async (dir) => {
    await using fs = await FaultyFs.mount(dir);
    const errors = [ENOSPC, EDQUOT, EIO].map((close) => ({ close }));
    await tryAll(dir, each(WRITING, ...errors), fs);
  },
);

mountTest(
  here,
  "rebuild-cache copies what files hold when their size is said to be 0",
  FAULTY_FS_NEEDS,
  async (dir) => {
    await using fs = await FaultyFs.mount(dir);
    // A size that is another than when it was put may be damage to `verify`.
    const jobs = CHOSEN.filter(({ name }) =>
      STRESS ? name !== "verify" : /source|both|put|ensure, a miss/.test(name)
    );
    const tries = [...each(jobs, { empty: 1 })].map((it) =>
      /faulty source/.test(it.job.name) ? { ...it, wants: succeeds } : it
    );
    await tryAll(dir, tries, fs);
  },
);

mountTest(
  here,
  "rebuild-cache link reports an error when a file ends before its size",
  FAULTY_FS_NEEDS,
  async (dir) => {
    await using fs = await FaultyFs.mount(dir);
    const jobs = CHOSEN.filter(({ name }) =>
      /^link.*faulty (source|both)/.test(name)
    );
    await tryAll(dir, each(jobs, { short: 1 }), fs);
  },
);

mountTest(
  here,
  "rebuild-cache keeps what is there when nothing can be renamed over it",
  FAULTY_FS_NEEDS,
  async (dir) => {
    await using fs = await FaultyFs.mount(dir);
    const errors = [EEXIST, EPERM].map((over) => ({ over }));
    // What has nothing to rename over needs no such thing.
    const free = /^(link --mode|link FILE|clear|put, a new|ensure, a miss)/;
    const tries = [...each(WRITING, ...errors)].map((it) =>
      free.test(it.job.name) ? { ...it, wants: succeeds } : it
    );
    await tryAll(dir, tries, fs);
  },
);

mountTest(
  here,
  "rebuild-cache link puts one file in place 1,000 times when a file can have 177 links",
  FAULTY_FS_NEEDS,
  async (dir) => {
    await using fs = await FaultyFs.mount(dir);
    fs.set({ links: 177 });
    const text = "cached ".repeat(1000);
    Deno.writeTextFileSync(`${fs.backing}/cached`, text);
    const ran = await Promise.all([..."abcd"].map((name) => {
      const module = denoRun("tests/support/link_often.ts");
      const args = [`${fs.path}/cached`, `${fs.path}/${name}`, "250"];
      return run([Deno.execPath(), ...module, ...args]);
    }));
    ran.forEach(succeeds);
    assert(fs.struck().some((it) => it.startsWith("link")), "no limit was met");
    const names = [...Deno.readDirSync(fs.backing)].map(({ name }) => name)
      .filter((name) => !name.endsWith(".lock"));
    // Nothing but the cached file and its links: no temporary.
    assertEquals(names.length, 1001, names.join(" "));
    for (const name of names) {
      assertEquals(Deno.readTextFileSync(`${fs.backing}/${name}`), text, name);
      const { nlink } = Deno.lstatSync(`${fs.backing}/${name}`);
      assert(nlink! <= 177, `${name} has ${nlink} links`);
    }
  },
);

mountTest(
  here,
  "rebuild-cache link puts a whole tree in place when its files can have no more links",
  FAULTY_FS_NEEDS,
  async (dir) => {
    await using fs = await FaultyFs.mount(dir);
    const source = `${fs.backing}/source`;
    makeTree(source, "cached");
    const before = await contentsOf(source);
    fs.set({ links: 5 });
    for (let i = 0; i < (STRESS ? 60 : 6); i++) {
      for (const onLimit of ["reset", "copy"]) {
        const to = `target ${onLimit} ${i}`;
        succeeds(
          await runCli([
            ...["link", `${fs.path}/source`, `${fs.path}/${to}`],
            ...["--mode", "hardlink", "--on-link-limit", onLimit],
          ]),
        );
        assertEquals(await contentsOf(`${fs.backing}/${to}`), before, to);
        assertEquals(await contentsOf(source), before, `source, ${to}`);
      }
    }
    assert(fs.struck().some((it) => it.startsWith("link")), "no limit was met");
    if (STRESS) await tryAll(dir, each(JOBS, { links: 2 }), fs);
  },
);

/** Seeds to run: `REBUILD_CACHE_SEED=N` repeats one. */
const seed = Deno.env.get("REBUILD_CACHE_SEED");
const SEEDS = seed !== undefined
  ? [Number(seed)]
  : STRESS
  ? Array.from({ length: 200 }, (_, i) => i + 1)
  // Those in which 0.1.0 lost something, and others.
  : [27, 83, 106, 137, 156, 168, 1, 2, 3, 4, 5, 6, 7, 8, 9];

mountTest(
  here,
  "rebuild-cache loses nothing and says so when requests fail at random with EIO",
  FAULTY_FS_NEEDS,
  async (dir) => {
    await using fs = await FaultyFs.mount(dir);
    /** How many requests a job makes when none fails. */
    const requests = new Map<Job, number>();
    async function* tries(): AsyncGenerator<Try> {
      for (const seed of SEEDS) {
        // 7 and the number of jobs have no common factor: each job has its turn.
        const job = JOBS[(seed * 7) % JOBS.length]!;
        let count = requests.get(job);
        if (count === undefined) {
          ({ requests: count } = await runJob(fs, dir.path, job, {}));
          requests.set(job, count);
        }
        // One request of all; or, every third time, some, as their rate has it.
        const place = (seed * 0.6180339887) % 1;
        const faults: Faults = seed % 3 > 0
          ? { nth: 1 + Math.floor(place * count), seed }
          : { eio: [1, 3, 10, 50][seed % 4]!, seed };
        yield { job, faults };
      }
    }
    await tryAll(dir, tries(), fs);
  },
);
