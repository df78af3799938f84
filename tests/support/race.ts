import { assert, assertEquals } from "@std/assert";
import { denoRun, Peer } from "./command.ts";
import { compiled } from "./compiled.ts";
import { TempDir } from "./temp_dir.ts";
import { leaks, type User, Victim } from "./victim.ts";

/** The full size is for `REBUILD_CACHE_STRESS=1`. */
const STRESS = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;

/** Tries of each race. */
const TRIES: Record<Ffi, number> = STRESS
  ? { "ffi": 200, "no-ffi": 200 }
  : { "ffi": 10, "no-ffi": 5 };

/** A group of its own. */
const GROUP = 61000;

/** Who is attacked: root, by a user who owns the place; or a member of a group, by another. */
export type Who = "root" | "member";

/** Whether the library may call the C library. */
export type Ffi = "ffi" | "no-ffi";

const OPERATOR: Record<Who, User> = {
  root: { uid: 0, gid: 0 },
  member: { uid: 61001, gid: GROUP },
};

const ATTACKER: Record<Who, User> = {
  root: { uid: 65534, gid: GROUP },
  member: { uid: 61002, gid: GROUP },
};

/** A call of race_target.ts. */
export type Call = [name: string, ...args: unknown[]];

/** What exchanger.c is told; see there. */
export interface Attack {
  readonly match: string;
  readonly events: string;
  /** What it watches; by default the place. */
  readonly watch?: readonly string[];
  readonly litter?: number;
  readonly above?: boolean;
  /** How many events it lets pass; by default another number each time. */
  readonly skip?: number;
  /** What the links lead to, in the victim. */
  readonly lure?: string;
}

/** One try of a race. */
export interface Try {
  /** What is done before the attacker is there. */
  readonly before?: readonly Call[];
  readonly attack: Attack;
  /** What is attacked: calls of race_target.ts, or anything that says whether it went well. */
  readonly run:
    | readonly Call[]
    | ((attacker: Peer, deny: string[]) => Promise<boolean>);
  readonly after?: () => Promise<unknown>;
}

/** Where one try takes place. */
export class Arena {
  /** A directory that the attacker may write to. */
  readonly place: string;
  /** One that nobody else can write to. */
  readonly safe: string;
  readonly #who: Who;
  readonly #operator: User;
  readonly #attacker: User;

  constructor(readonly path: string, readonly who: Who) {
    this.place = `${path}/place`;
    this.safe = `${path}/safe`;
    this.#who = who;
    this.#operator = OPERATOR[who];
    this.#attacker = ATTACKER[who];
    for (const directory of [path, this.place, this.safe]) {
      Deno.mkdirSync(directory, { mode: 0o755 });
    }
    Deno.chownSync(this.safe, this.#operator.uid, this.#operator.gid);
    const owner = who === "root" ? this.#attacker.uid : 0;
    this.#give(this.place, owner, 0o2775);
  }

  /**
   * Makes a tree that the attacker may write to: it is root's attacker's, or the other
   * member's. `directories` of them, `0`, `1` …, with a file each.
   */
  tree(path: string, directories: number, mode = 0o2775): string {
    const { uid } = this.#who === "root" ? this.#attacker : this.#operator;
    const make = (directory: string) => {
      Deno.mkdirSync(directory);
      Deno.writeTextFileSync(`${directory}/file`, "content");
      Deno.chownSync(`${directory}/file`, uid, GROUP);
      this.#give(directory, uid, mode);
    };
    make(path);
    for (let i = 0; i < directories; i++) make(`${path}/${i}`);
    return path;
  }

  /** Gives something to who is attacked, and to nobody else. */
  own(path: string): void {
    const { uid, gid } = this.#operator;
    Deno.chownSync(path, uid, gid);
    Deno.chmodSync(path, 0o700);
  }

  /** A directory as the root of a cache that a group shares. */
  shared(path: string): string {
    Deno.mkdirSync(path);
    this.#give(path, 0, 0o2775);
    return path;
  }

  /** Takes the right to rename anything in the place from all but root. */
  close(): void {
    Deno.chownSync(this.place, 0, 0);
    Deno.chmodSync(this.place, 0o755);
  }

  /** After chown, which takes setgid away. */
  #give(path: string, uid: number, mode: number): void {
    Deno.chownSync(path, uid, GROUP);
    Deno.chmodSync(path, mode);
  }
}

/**
 * Runs a race many times, each time with an attacker who strikes at another instant, and
 * looks each time whether anything outside was touched.
 *
 * @param prepare Makes what is needed for one try.
 */
export async function drive(
  who: Who,
  ffi: Ffi,
  prepare: (arena: Arena, chance: Chance) => Try | Promise<Try>,
): Promise<void> {
  await using dir = TempDir.make();
  Deno.chmodSync(dir.path, 0o755);
  const exchanger = await compiled("exchanger.c");
  const victim = new Victim(dir.at("victim"), OPERATOR[who]);
  await using target = new Target(who, ffi);
  const tries = TRIES[ffi];
  const count = { driven: 0, exchanges: 0, refused: 0, harmed: 0 };
  const harm: string[] = [];
  for (let nth = 0; nth < tries; nth++) {
    const arena = new Arena(dir.at(`${nth}`), who);
    const chance = new Chance(nth);
    const { before, attack, run, after } = await prepare(arena, chance);
    let failed = before && await target.ask(before);
    if (!failed) {
      const command = attackCommand(exchanger, victim, arena, attack, chance);
      await using attacker = new Peer(command);
      await attacker.says("ready");
      failed = typeof run !== "function"
        ? await target.ask(run)
        : await run(attacker, denials(ffi))
        ? undefined
        : "it failed";
      const { heard } = await attacker.end();
      const exchanges = Number(/exchanged (\d+)/.exec(heard)?.[1]);
      count.exchanges += exchanges;
      if (exchanges > 0) count.driven++;
    }
    await after?.();
    if (failed) count.refused++;
    const found = [...await victim.harm(), ...leaks(arena.path)];
    if (found.length > 0) {
      count.harmed++;
      harm.push(`Try ${nth}: ${found.length}, such as ${found[0]}`);
    }
    await Deno.remove(arena.path, { recursive: true });
  }
  const { driven, exchanges, refused, harmed } = count;
  const figures = `${harmed} of ${tries} tries did harm; ` +
    `${driven} with ${exchanges} exchanges, ${refused} ended with an error`;
  // deno-lint-ignore no-console -- figures to tell
  if (STRESS) console.log(figures);
  assertEquals(harm.slice(0, 5), [], figures);
  // Without FFI it may refuse before there is anything to race with.
  const raced = driven > 0 || ffi === "no-ffi";
  assert(raced, `Nobody was raced with: ${figures}`);
}

/** At once and later; once, or there and back again and again. */
function attackCommand(
  exchanger: string,
  victim: Victim,
  arena: Arena,
  attack: Attack,
  chance: Chance,
): string[] {
  const { match, events, watch = [arena.place], lure = "" } = attack;
  const { litter = 0, above = false } = attack;
  const { skip = chance.of([0, 0, 0, 1, 2, 5, 12]) } = attack;
  const [back, times] = chance.of([[0, 1], [300, 50], [0, 1], [2000, 10]]);
  const { uid, gid } = ATTACKER[arena.who];
  const numbers = [skip, back!, times!, litter, Number(above)].map(String);
  return [
    ...[exchanger, `${uid}`, `${gid}`, victim.path + lure, match, events],
    ...[...numbers, ...watch],
  ];
}

/** What differs from try to try, and is the same whenever a try is repeated. */
export class Chance {
  #state: number;

  constructor(nth: number) {
    this.#state = nth + 1;
  }

  /** One of a list. */
  of<T>(list: readonly T[]): T {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return list[((mixed ^ (mixed >>> 14)) >>> 0) % list.length]!;
  }
}

/** Flags of `deno run`. */
function denials(ffi: Ffi): string[] {
  return ffi === "ffi" ? [] : ["--deny-ffi"];
}

/** The process that is attacked. */
class Target implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #heard: ReadableStreamDefaultReader<string>;
  readonly #told: WritableStreamDefaultWriter<Uint8Array>;
  #ready: Promise<unknown> | undefined;

  constructor(who: Who, ffi: Ffi) {
    const { uid, gid } = OPERATOR[who];
    // Who becomes another user needs FFI for that, and gives it away.
    const deny = who === "root" ? denials(ffi) : [];
    const [run, ...rest] = denoRun("tests/support/race_target.ts");
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [run!, "--no-prompt", ...deny, ...rest, `${uid}`, `${gid}`, ffi],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#heard = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    this.#told = this.#child.stdin.getWriter();
    this.#ready = this.#line().then(({ ffi: state }) =>
      assertEquals(state === "granted", ffi === "ffi")
    );
    this.#ready.catch(() => {}); // heard by who asks
  }

  /** Lets it make the calls; gives the error, if one failed. */
  async ask(calls: readonly Call[]): Promise<string | undefined> {
    await this.#ready;
    const line = `${JSON.stringify(calls)}\n`;
    await this.#told.write(new TextEncoder().encode(line));
    const { error } = await this.#line();
    return error && `${error.name} (${error.kind}): ${error.message}`;
  }

  async #line(): Promise<Answer> {
    let line = "";
    while (!line.endsWith("\n")) {
      const { value } = await this.#heard.read();
      if (value === undefined) throw new Error(`It died, saying: ${line}`);
      line += value;
    }
    return JSON.parse(line);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#told.close().catch(() => {});
    await this.#child.status;
    await this.#heard.cancel();
  }
}

/** A line of race_target.ts. */
interface Answer {
  readonly ffi?: Deno.PermissionState;
  readonly error?: { name: string; kind?: string; message: string };
}
