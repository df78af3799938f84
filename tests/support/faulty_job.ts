import { assert, assertEquals } from "@std/assert";
import { type Ran, runCli } from "./command.ts";
import { type Contents, same } from "./contents.ts";
import type { Faults, FaultyFs } from "./faulty_fs.ts";
import { namesIn } from "./temp_dir.ts";

/** A path as the command sees it, and where its content really lies. */
export interface Place {
  seen: string;
  real: string;
}

/** Where one run takes place: a directory of the faulty file system, and another. */
export interface Stage {
  faulty: Place;
  sound: Place;
}

/** A command that is to be run, and how to tell whether it lost anything. */
export interface Ready {
  args: string[];
  /** Called without faults; throws if something was lost. */
  judge(ran: Ran): Promise<void>;
  /** What the next run without faults has to reach. Throws if it does not. */
  recover(): Promise<void>;
}

/** One kind of run. */
export interface Job {
  name: string;
  prepare(stage: Stage): Promise<Ready>;
}

/** A name inside. */
export const at = ({ seen, real }: Place, name: string): Place => ({
  seen: `${seen}/${name}`,
  real: `${real}/${name}`,
});

/** A run without faults, which has to succeed. */
export async function succeed(args: string[]): Promise<Ran> {
  const ran = await runCli(args);
  assertEquals(ran.code, 0, `${args.join(" ")}: ${ran.stderr}`);
  return ran;
}

/** An error in one line or a few that says where, with a code that means it. */
export function assertTold(ran: Ran, stage: Stage): void {
  assert([1, 2].includes(ran.code), `exit code ${ran.code}: ${ran.stderr}`);
  const dirs = [stage.faulty.seen, stage.sound.seen];
  assert(
    dirs.some((it) => ran.stderr.includes(it)),
    `names no path: ${ran.stderr}`,
  );
  assert(!/^\s+at .*:\d+/m.test(ran.stderr), `a stack trace: ${ran.stderr}`);
}

/** Both are the same, to the last byte. */
export function assertSame(a: Contents, b: Contents, what: string): void {
  if (!same(a, b)) assertEquals(a, b, what);
}

/** Only what belongs there: no aside, no staging, no temporary. */
export function assertNothingLeft({ real }: Place, names: string[]): void {
  assertEquals(namesIn(real), names.toSorted(), "what is left after recovery");
}

/** Some errors were tried again for ever: exit code 124, of no command of ours. */
const LIMIT = ["timeout", "--kill-after=5", "60"];

/** Runs a job once, with faults, judges it, and runs it again without. */
export async function runJob(
  fs: FaultyFs,
  sound: string,
  job: Job,
  faults: Faults,
): Promise<{ ran: Ran; struck: string[]; requests: number }> {
  const id = crypto.randomUUID().slice(0, 8);
  for (const dir of [fs.backing, sound]) Deno.mkdirSync(`${dir}/${id}`);
  fs.set({});
  const ready = await job.prepare({
    faulty: { seen: `${fs.path}/${id}`, real: `${fs.backing}/${id}` },
    sound: { seen: `${sound}/${id}`, real: `${sound}/${id}` },
  });
  fs.set(faults);
  const ran = await runCli(ready.args, { wrap: LIMIT });
  const struck = fs.struck();
  const requests = fs.requests();
  try {
    await ready.judge(ran);
    await ready.recover();
  } catch (error) {
    const what = `${job.name}, ${JSON.stringify(faults)}, exit ${ran.code}` +
      `, struck: ${struck.slice(0, 5).join(", ") || "never"}`;
    throw new Error(`${what}: ${(error as Error).message}\n${ran.stderr}`, {
      cause: error,
    });
  }
  for (const dir of [fs.path, sound]) {
    Deno.removeSync(`${dir}/${id}`, { recursive: true });
  }
  return { ran, struck, requests };
}
