// deno-lint-ignore-file no-console
/**
 * Pushes and pulls a tree of 5,003 files (15 MB) by each protocol, whole processes,
 * through a relay with a round trip of 20 ms, interleaved in one run, and prints calls,
 * bytes and seconds beside what they should be. What is pulled is counted.
 *
 *     deno run -A bench/remote.ts [--runs 3] [--at DIR] [--before CHECKOUT]
 *
 * Servers are those of tests/support/servers.ts; one that is missing is left out.
 * `--before` is another checkout, whose start is compared with this one's.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import {
  cliCommand,
  denoRun,
  type Ran,
  ROOT,
  run,
} from "../tests/support/command.ts";
import { Relay } from "../tests/support/relay.ts";
import { freePorts } from "../tests/support/server.ts";
import { findServer } from "../tests/support/server_tools.ts";
import { startBazelRemote, startGofakes3 } from "../tests/support/servers.ts";
import { median } from "./compare.ts";

const options = parseArgs(Deno.args, {
  // bench/main.ts gives "files" and "record" to all.
  string: ["runs", "at", "before", "files", "record"],
  default: { runs: "3", at: Deno.env.get("TMPDIR") ?? "/tmp" },
}) as unknown as { runs: string; at: string; before?: string };
const runs = Number(options.runs);

/** Milliseconds each way. */
const LATENCY = 10;
const FILES = 5003;
const SIZE = 3000;
/** Every so many files are others, in the second tree. */
const EVERY = 25;
const LARGE = 16_000_000;

/** Calls, at most so many. */
interface Calls {
  readonly cold: number;
  readonly nothingNew: number;
  readonly pullCold: number;
  readonly someNew: number;
  readonly allThere: number;
}

/** A server behind a relay. */
interface Server {
  readonly name: string;
  readonly relay: Relay;
  readonly url: string;
  readonly env: Record<string, string>;
  readonly calls: Partial<Calls>;
}

const GRPC: Calls = {
  cold: 7,
  nothingNew: 3,
  pullCold: 7,
  someNew: 4,
  allThere: 2,
};
const PACKS = { cold: 6, pullCold: 4 };

/** One job of a server, in all runs. */
interface Row {
  readonly wanted: string;
  readonly calls: Set<number>;
  readonly seconds: number[];
  /** Of those, what the remote took. */
  readonly remote: number[];
  sent: number;
  received: number;
}

const rows = new Map<string, Row>();
const lines: string[] = [];

await using held = new AsyncDisposableStack();
const root = await Deno.makeTempDir({ dir: options.at, prefix: "bench-" });
held.defer(() => Deno.remove(root, { recursive: true }));
const servers = await start();
for (let round = -1; round < runs; round++) {
  const order = round % 2 ? servers.toReversed() : servers;
  for (const server of order) await transfers(server, round);
}
const jobs = [...rows].map(([job, row]) => line(job, row));
console.log(
  `${FILES} files, ${FILES * SIZE / 1e6} MB, a round trip of ${
    2 * LATENCY
  } ms; medians of ${runs}`,
);
console.log(
  `${"".padEnd(42)}${"calls".padStart(6)}${"sent kB".padStart(9)}${
    "rec. kB".padStart(9)
  }${"s".padStart(7)}${"remote".padStart(8)}  wanted`,
);
console.log(jobs.join("\n"));
for (const server of servers) await weather(server);
await starts();
console.log(lines.join("\n"));

async function start(): Promise<Server[]> {
  const all: Server[] = [];
  const relayTo = (target: number) =>
    held.use(Relay.start({ target, latency: LATENCY }));
  if (findServer("bazel-remote")) {
    const { grpcPort, httpPort } = held.use(await startBazelRemote());
    const [grpc, http] = [relayTo(grpcPort), relayTo(httpPort)];
    all.push({
      name: "gRPC, bazel-remote",
      relay: grpc,
      url: `grpc://127.0.0.1:${grpc.port}`,
      env: {},
      calls: GRPC,
    }, {
      name: "HTTP, bazel-remote",
      relay: http,
      url: `http://127.0.0.1:${http.port}`,
      env: {},
      calls: PACKS,
    });
  }
  if (findServer("gofakes3")) {
    const it = held.use(await startGofakes3());
    const relay = relayTo(it.port);
    all.push({
      name: "S3, gofakes3",
      relay,
      url: it.url.replace(`:${it.port}`, `:${relay.port}`),
      env: {
        AWS_ACCESS_KEY_ID: it.accessKeyId,
        AWS_SECRET_ACCESS_KEY: it.secretAccessKey,
      },
      calls: PACKS,
    });
  }
  return all;
}

/** All transfers, with contents that the server does not have yet. */
async function transfers(server: Server, round: number): Promise<void> {
  const dir = await Deno.makeTempDir({ dir: root });
  const [from, to] = [`${dir}/from`, `${dir}/to`];
  const { calls } = server;
  const ask = async (job: string, args: string[], wanted: string) => {
    const { seconds, ran } = await timed([...args, "--remote", server.url], {
      env: server.env,
    });
    const { result: { keys: [{ remote }] } } = JSON.parse(ran.stdout);
    if (remote.outcome !== "pushed" && remote.outcome !== "hit") {
      throw new Error(`${server.name}, ${job}: ${remote.reason}`);
    }
    if (round < 0) return;
    const name = `${server.name}: ${job}`;
    let row = rows.get(name);
    if (!row) {
      const fresh = { wanted, calls: new Set<number>(), seconds: [] };
      rows.set(name, row = { ...fresh, remote: [], sent: 0, received: 0 });
    }
    row.calls.add(remote.calls);
    row.seconds.push(seconds);
    row.remote.push(remote.durationMs / 1000);
    row.sent = remote.sentBytes;
    row.received = remote.receivedBytes;
  };
  const push = (job: string, key: string, wanted: string) =>
    ask(job, ["push", "--json", "--dir", from, key], wanted);
  const pull = (job: string, key: string, wanted: string) =>
    ask(job, ["pull", "--json", "--dir", to, key], wanted);
  const most = (calls: number | undefined, ...more: string[]) =>
    [...calls === undefined ? [] : [`${calls} calls`], ...more].join(", ");

  const tree = `${dir}/tree`;
  makeTree(tree);
  const [first, second, large] = ["first", "second", "large"].map((it) =>
    `${it}-${round}`
  ) as [string, string, string];
  await put(from, first, tree);
  change(tree);
  await put(from, second, tree);
  Deno.mkdirSync(`${dir}/large`);
  Deno.writeFileSync(`${dir}/large/file`, noise(LARGE));
  await put(from, large, `${dir}/large`);

  await push("push, cold", first, most(calls.cold));
  await push("push, nothing new", first, most(calls.nothingNew));
  await pull("pull, cold", first, most(calls.pullCold, "2 s"));
  await push("push, 201 new", second, "");
  await pull(
    "pull, 201 new",
    second,
    most(calls.someNew, ...calls === GRPC ? ["1100 kB", "0.7 s"] : []),
  );
  await pull("pull, all there", second, most(calls.allThere, "0.5 s"));
  await push("push, one of 16 MB", large, "remote 0.4 s");
  await pull("pull, one of 16 MB", large, "remote 0.4 s");
  await must(["get", "--dir", to, second, `${dir}/there`]);
  const found = count(`${dir}/there`);
  if (found !== FILES) throw new Error(`${found} files, not ${FILES}`);
  // It goes at the end: ext4 is slow where much was just deleted.
}

/** Nobody there, in two ways; and what a hit in the cache asks. */
async function weather({ name, relay, url, env }: Server): Promise<void> {
  const dir = await Deno.makeTempDir({ dir: root });
  Deno.mkdirSync(`${dir}/tree`);
  Deno.writeTextFileSync(`${dir}/tree/file`, "built");
  const ensure = (key: string, remote: string[], at = "cache") =>
    timed([
      ...["ensure", "--dir", `${dir}/${at}`, key, `${dir}/${key}`],
      ...remote,
      ...["--", "cp", `${dir}/tree/file`, "{}"],
    ], { env, isAny: true });
  const shared = (to: string) => ["--remote", to, "--remote-mode=read-write"];

  await ensure("hit", []);
  const before = relay.connections;
  const hit = await ensure("hit", shared(url));
  say(
    `${name}: a hit in the cache`,
    `${relay.connections - before} connections, exit ${hit.ran.code}`,
    "0",
  );
  const alone = median([
    (await ensure("alone-1", [])).seconds,
    (await ensure("alone-2", [])).seconds,
    (await ensure("alone-3", [])).seconds,
  ]);
  const [closed] = freePorts(1);
  const bad = async (what: string, to: string, at: string) => {
    const first = await ensure(`${at}-1`, shared(to), at);
    const next = median([
      (await ensure(`${at}-2`, shared(to), at)).seconds,
      (await ensure(`${at}-3`, shared(to), at)).seconds,
      (await ensure(`${at}-4`, shared(to), at)).seconds,
    ]);
    const warnings = first.ran.stderr.split("\n")
      .filter((it) => it.includes("without the remote")).length;
    say(
      `${name}: ${what}`,
      `${first.seconds.toFixed(2)} s, exit ${first.ran.code}, ${warnings} ${
        warnings === 1 ? "warning" : "warnings"
      }; next + ${(next - alone).toFixed(2)} s`,
      "3 s, exit 0, 1 warning; next + 0.1 s",
    );
  };
  await bad("refused port", url.replace(`:${relay.port}`, `:${closed}`), "no");
  relay.stall();
  await bad("black hole", url, "hole");
  relay.resume();
  await Deno.remove(dir, { recursive: true });
}

/** Whole processes that are asked for no remote, here and before. */
async function starts(): Promise<void> {
  const checkouts = [ROOT, ...options.before ? [options.before] : []];
  const dir = await Deno.makeTempDir({ dir: root });
  Deno.writeTextFileSync(`${dir}/file`, "content");
  const taken = checkouts.map(() => [] as number[]);
  const command = (checkout: string) => {
    const [program, ...args] = [Deno.execPath(), ...denoRun("cli.ts")];
    return [
      program!,
      ...args.map((it) => it.replace(ROOT, `${checkout.replace(/\/$/, "")}/`)),
    ];
  };
  for (const [index, checkout] of checkouts.entries()) {
    const put = ["put", "--dir", `${dir}/${index}`, "key", `${dir}/file`];
    await run([...command(checkout), ...put]);
  }
  for (let round = -1; round < 10 * runs; round++) {
    const order = checkouts.map((_, index) => index);
    for (const index of round % 2 ? order.toReversed() : order) {
      const started = performance.now();
      const to = `${dir}/out-${index}`;
      const get = ["get", "--dir", `${dir}/${index}`, "key", to];
      const { code } = await run([...command(checkouts[index]!), ...get]);
      if (code !== 0) throw new Error(`get: ${code}`);
      if (round >= 0) taken[index]!.push(performance.now() - started);
    }
  }
  const [now, before] = taken.map((it) => ({
    middle: median(it),
    least: Math.min(...it),
  }));
  say(
    "get without --remote",
    `${now!.middle.toFixed(1)} ms${
      before
        ? `, before ${before.middle.toFixed(1)} ms; at least ${
          now!.least.toFixed(1)
        }, before ${before.least.toFixed(1)} ms`
        : ""
    }`,
    "+ 1 ms",
  );
}

function say(what: string, is: string, wanted: string): void {
  lines.push(`${what.padEnd(42)} ${is}  [${wanted}]`);
}

function line(job: string, row: Row): string {
  const calls = [...row.calls].sort().join("/");
  const kilobytes = (bytes: number) => (bytes / 1000).toFixed(0).padStart(9);
  const speed = job.includes("one of")
    ? `, ${(LARGE / 1e6 / median(row.remote)).toFixed(0)} MB/s`
    : "";
  return `${job.padEnd(42)}${calls.padStart(6)}${kilobytes(row.sent)}${
    kilobytes(row.received)
  }${median(row.seconds).toFixed(2).padStart(7)}${
    median(row.remote).toFixed(2).padStart(8)
  }  ${row.wanted}${speed}`;
}

async function timed(
  args: string[],
  { env = {}, isAny = false }: {
    env?: Record<string, string>;
    isAny?: boolean;
  },
): Promise<{ seconds: number; ran: Ran }> {
  const started = performance.now();
  const ran = await run(cliCommand(args), { env });
  const seconds = (performance.now() - started) / 1000;
  if (!isAny && ran.code !== 0) {
    throw new Error(`${args.join(" ")}: ${ran.code} ${ran.stderr}`);
  }
  return { seconds, ran };
}

async function must(args: string[]): Promise<void> {
  await timed(args, {});
}

function put(cache: string, key: string, tree: string): Promise<void> {
  return must(["put", "--dir", cache, key, tree]);
}

function makeTree(tree: string): void {
  for (let file = 0; file < FILES; file++) {
    const folder = `${tree}/${file / 500 | 0}/${(file / 50 | 0) % 10}`;
    if (file % 50 === 0) Deno.mkdirSync(folder, { recursive: true });
    Deno.writeFileSync(`${folder}/file-${file}`, noise(SIZE));
  }
}

function change(tree: string): void {
  for (let file = 0; file < FILES; file += EVERY) {
    const folder = `${tree}/${file / 500 | 0}/${(file / 50 | 0) % 10}`;
    Deno.writeFileSync(`${folder}/file-${file}`, noise(SIZE));
  }
}

/** Bytes that nobody has yet, and that don't compress. */
function noise(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  return bytes;
}

function count(directory: string): number {
  let files = 0;
  for (const { name, isDirectory } of Deno.readDirSync(directory)) {
    files += isDirectory ? count(`${directory}/${name}`) : 1;
  }
  return files;
}
