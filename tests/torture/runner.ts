// Does an operation again and again, each time with a fault at another call, and looks
// at what came of it.
import { difference, type Look, lookAtAll } from "../support/snapshot.ts";
import { type Answer, type Call, Tortured } from "../support/tortured.ts";
import {
  type Case,
  type Ended,
  listsFailures,
  type State,
  type Wrong,
} from "./cases.ts";
import {
  CALLS,
  ERRORS,
  injection,
  isOurs,
  nameOf,
  sample,
  type Site,
  sitesOf,
} from "./faults.ts";
import { clean, leftIn, restoreSource } from "./fixtures.ts";

/** Goes through every place, with every fault. */
const STRESS = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;

/** The runs to repeat: `CASE/THREADS/CALL#N/FAULT`, or what those begin with. */
const ONLY = Deno.env.get("REBUILD_CACHE_TORTURE");

/** What chance begins with. */
const SEED = Number(
  Deno.env.get("REBUILD_CACHE_TORTURE_SEED") ??
    crypto.getRandomValues(new Uint16Array(1))[0],
);

/** Runs of a case in the short form, at least. */
const SHORT = 40;

/** Tortures the cases, two at a time, each in a directory of its own. */
export async function torture(
  cases: readonly Case[],
  fixture: (it: Case) => Promise<string>,
): Promise<void> {
  const queue = cases.filter(({ name }) =>
    !ONLY || `${ONLY}/`.startsWith(`${name}/`)
  );
  const wrong: string[] = [];
  const lane = async () => {
    for (let it; (it = queue.shift());) {
      await using one = await Torture.start(it, await fixture(it));
      wrong.push(...await one.run());
    }
  };
  await Promise.all([lane(), lane()]);
  if (wrong.length === 0) return;
  const shown = STRESS ? wrong : wrong.slice(0, 40);
  throw new Error(
    `${wrong.length} runs went wrong (seed ${SEED}).\n` +
      `Repeat one with REBUILD_CACHE_TORTURE=…:\n\n${shown.join("\n")}`,
  );
}

class Torture implements AsyncDisposable {
  readonly #case: Case;
  readonly #at: string;
  /** Nothing happens to it. */
  readonly #peer: Tortured;
  #victim: Tortured | undefined;
  #before: State = {};
  #after: State = {};
  #counts = "";
  #sites: Site[] = [];

  private constructor(it: Case, at: string, peer: Tortured) {
    this.#case = it;
    this.#at = at;
    this.#peer = peer;
  }

  static async start(it: Case, at: string): Promise<Torture> {
    return new Torture(it, at, await Tortured.start());
  }

  /** Tries all places, or some, and says what went wrong. */
  async run(): Promise<string[]> {
    const { name } = this.#case;
    await this.#learn();
    const sites = ONLY
      ? this.#sites.filter((it) => `${name}/${nameOf(it)}`.startsWith(ONLY))
      : STRESS
      ? this.#sites
      : sample(this.#sites, SHORT, SEED);
    if (sites.length === 0) return [`${name}: no calls to fail`];
    const tally: Record<string, number> = {};
    const count = (what: string) => tally[what] = (tally[what] ?? 0) + 1;
    const wrong: string[] = [];
    for (const site of sites) {
      let how = "missed";
      try {
        // Threads share their work as it comes: the n-th call is not always made.
        for (let tries = 0; how === "missed" && tries < 4; tries++) {
          how = await this.#try(site);
        }
      } catch (error) {
        how = "WRONG";
        wrong.push(`${name}/${nameOf(site)}: ${(error as Error).message}`);
        await this.#forget();
        await restoreSource(this.#at);
      }
      if (how !== "missed") count(site.fault);
      count(isCrash(how, site) ? "crashed" : how);
    }
    const figures = Object.entries(tally).map(([what, n]) => `${what} ${n}`);
    // deno-lint-ignore no-console -- figures to tell
    console.log(
      `${name}: ${sites.length} of ${this.#sites.length} runs (seed ${SEED}): ` +
        figures.join(", "),
    );
    if (!ONLY && (tally.missed ?? 0) * 4 > sites.length) {
      wrong.push(`${name}: ${tally.missed} faults were never met`);
    }
    return wrong;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#victim?.[Symbol.asyncDispose]();
    await this.#peer[Symbol.asyncDispose]();
    try {
      clean(this.#at);
    } catch { /* Its directory goes as a whole. */ }
  }

  get #request(): unknown {
    return [this.#case.op, this.#at, this.#case.options ?? {}];
  }

  async #prepare(): Promise<void> {
    clean(this.#at);
    await this.#case.prepare(this.#at);
  }

  #state(): Promise<State> {
    return this.#case.state(this.#at, this.#peer);
  }

  async #source(): Promise<Look> {
    const all = await lookAtAll(`${this.#at}/source`);
    if (!this.#case.resets) return all;
    for (const [path, what] of Object.entries(all)) {
      all[path] = what.replace(/\S+ directory$/, "directory");
    }
    return all;
  }

  /** How the source is not what it was. */
  async #harm(source: Look, how: Ended["how"]): Promise<Wrong> {
    const now = await this.#source();
    const harm = difference(now, source);
    if (!harm || !this.#case.resets || how !== "killed") return harm;
    // Names of one file take the fresh inode one after the other: who is killed
    // between two of them parts them, and changes nothing else.
    await restoreSource(this.#at);
    const parted = (look: Look) =>
      Object.fromEntries(
        Object.entries(look).map(([path, what]) => [
          path,
          what.replace(/ \d+ links /, " links "),
        ]),
      );
    return difference(parted(now), parted(source));
  }

  /** A process that has done it before, so that all that it needs is loaded. */
  async #warm(): Promise<Tortured> {
    if (this.#victim && !this.#victim.over) return this.#victim;
    await this.#forget();
    this.#victim = await Tortured.start();
    await this.#prepare();
    const answer = await this.#victim.ask(this.#request);
    if (!answer?.done) throw new Error(`Without a fault: ${say(answer)}`);
    return this.#victim;
  }

  async #forget(): Promise<void> {
    await this.#victim?.[Symbol.asyncDispose]();
    this.#victim = undefined;
  }

  /** What it does, and what comes of it, when nothing fails. */
  async #learn(): Promise<void> {
    await this.#prepare();
    this.#before = await this.#state();
    let calls: Call[] = [];
    for (let times = 0; times < 2; times++) {
      const victim = await this.#warm();
      await this.#prepare();
      const trace = { calls: CALLS, threads: "all" } as const;
      const run = await victim.trace(this.#request, trace);
      calls = run.calls;
      this.#counts = this.#countsOf(run.answer!);
      if (!run.answer?.done) throw new Error(say(run.answer));
    }
    this.#after = await this.#state();
    this.#sites = sitesOf(calls, this.#at);
  }

  /** One run. Throws what is wrong with it. */
  async #try(site: Site): Promise<Ended["how"] | "missed"> {
    const victim = await this.#warm();
    clean(this.#at);
    const source = await this.#source();
    await this.#prepare();
    const { answer, calls } = await victim.trace(this.#request, {
      calls: CALLS,
      threads: site.threads,
      inject: injection(site),
    });
    const hit = calls.filter(({ injected }) => injected);
    if (site.fault === "KILL" ? answer : hit.length === 0) return "missed";
    if (!hit.every((call) => isOurs(call, this.#at))) {
      await this.#forget();
      return "missed";
    }
    const last = answer ? hit : calls.slice(-1);
    const where = last.map(({ name, text }) => `${name}(${text}`).join("; ");
    const how = !answer
      ? "killed"
      : answer.error
      ? "failed"
      : listsFailures(answer)
      ? "reported"
      : "done";
    const wrong: string[] = [];
    if (victim.hung) wrong.push("it did not end");
    else if (isCrash(how, site) && !mayCrash(site)) wrong.push("it crashed");
    try {
      const ended = { before: this.#before, after: this.#after, how } as const;
      const found = this.#case.judge(await this.#state(), ended);
      if (found) wrong.push(found);
      if (answer) wrong.push(...this.#wrongIn(answer, how, site.fault));
      // A close that does not happen leaves what it was to close, and its lock.
      if (site.call === "close") await this.#forget();
      wrong.push(...await this.#cleanRun());
      clean(this.#at);
      const harm = await this.#harm(source, how);
      if (harm) wrong.push(`the source was changed: ${harm}`);
    } catch (error) {
      wrong.push(`${error}`);
    }
    if (wrong.length > 0) {
      const lines = [`${how}: ${wrong.join("; ")}`, where, say(answer)];
      throw new Error(lines.join("\n    "));
    }
    return how;
  }

  /** What it says that did not happen, or not so. */
  #wrongIn(answer: Answer, how: Ended["how"], fault: string): string[] {
    const wrong: string[] = [];
    if (answer.error) {
      const { kind, message } = answer.error;
      if (!ERRORS[fault]!.includes(kind ?? "none")) {
        wrong.push(`${fault} became an error of kind ${kind}`);
      }
      if (!message.includes(this.#at)) wrong.push("the error names no path");
      if (/\.(partial|stale)-/.test(message)) {
        wrong.push("the error names a staging");
      }
    } else if (how === "done") {
      const counts = this.#countsOf(answer);
      if (counts !== this.#counts) {
        wrong.push(`it says ${counts}, not ${this.#counts}`);
      }
    }
    return wrong;
  }

  /** Numbers that are always the same: however files were put there, they were. */
  #countsOf(answer: Answer): string {
    const report = (answer.done ?? {}) as Record<string, unknown>;
    const counts: Record<string, unknown> = {};
    for (const name of this.#case.counts) {
      const value = report[name];
      const sum = /^(cloned|hardlinked|symlinked|copied)$/.test(name);
      if (sum) counts.files = Number(counts.files ?? 0) + Number(value);
      else counts[name] = Array.isArray(value) ? value.length : value;
    }
    return JSON.stringify(counts);
  }

  /** The next run, to which nothing happens, succeeds, and leaves nothing. */
  async #cleanRun(): Promise<string[]> {
    const { free, judge, loses } = this.#case;
    const wrong: string[] = [];
    if (free) {
      await Deno.remove(`${this.#at}/${free}`, { recursive: true })
        .catch(() => {});
    }
    const answer = await this.#peer.ask(this.#request);
    if (!answer?.done || listsFailures(answer)) {
      wrong.push(`the next run: ${say(answer)}`);
    } else if (!loses) {
      const ended = { before: this.#after, after: this.#after, how: "done" };
      const found = judge(await this.#state(), ended as Ended);
      if (found) wrong.push(`after the next run, ${found}`);
    }
    // A cache is swept by a prune.
    if (free === "out") await this.#peer.ask(["prune", this.#at]);
    const left = leftIn(this.#at);
    if (left.length > 0) wrong.push(`the next run leaves ${left.join(", ")}`);
    if (wrong.length === 0 || !this.#victim) return wrong;
    // What a process that still runs has left may be in use: it has to end first.
    await this.#forget();
    return await this.#cleanRun();
  }
}

/** It ended although nobody killed it. */
function isCrash(how: string, { fault }: Site): boolean {
  return how === "killed" && fault !== "KILL";
}

/**
 * Where a `closedir` fails, Rust's standard library panics: `Deno.remove()` of a subtree
 * is made on a thread of the runtime's. What the main thread closes is ours.
 */
function mayCrash({ threads, call }: Site): boolean {
  return threads === "others" && call === "close";
}

function say(answer: Answer | undefined): string {
  const { done, error } = answer ?? {};
  if (error) return `${error.name}, ${error.kind}: ${error.message}`;
  return JSON.stringify(done)?.slice(0, 500) ?? "no answer";
}
