/** What a server's bad days do to a build: nothing. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import type { RemoteReport } from "../../lib/cache/remote.ts";
import { setLogSink } from "../../lib/log.ts";
import { openRemote } from "../../lib/remote/remote.ts";
import { type Answer, HttpCache } from "../support/http_cache.ts";
import { Machine, type RanHere, STRESS } from "../support/machine.ts";
import { test } from "../support/needs.ts";
import { Relay } from "../support/relay.ts";
import { Seeded } from "../support/seeded.ts";
import { freePorts } from "../support/server.ts";
import { startBazelRemote, startNginx } from "../support/servers.ts";
import { TempDir } from "../support/temp_dir.ts";

const WRITE = ["--remote-mode", "read-write"];

/** What a port does to whoever connects. */
class Port implements AsyncDisposable {
  connections = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open: Deno.Conn[] = [];
  readonly #done: Promise<void>;

  /** @param way It hangs up at once, or says nothing. */
  constructor(way: "hangs up" | "is silent") {
    this.#done = (async () => {
      for await (const it of this.#listener) {
        this.connections++;
        if (way === "hangs up") it.close();
        else this.#open.push(it);
      }
    })();
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
    for (const it of this.#open) it.close();
  }
}

/** Builds a small tree, which must succeed. */
async function build(
  machine: Machine,
  key: string,
  ...share: string[]
): Promise<RanHere> {
  const [out, script] = [machine.at(`out ${key}`), 'echo "$2" >"$1/a"'];
  const command = ["--", "sh", "-c", script, "sh", "{}", key];
  const ran = await machine.run(
    "ensure",
    "--json",
    ...share,
    key,
    out,
    ...command,
  );
  assertEquals(ran.code, 0, ran.stderr);
  assertEquals(Deno.readTextFileSync(`${out}/a`), `${key}\n`);
  assertEquals(machine.leftovers(), []);
  return ran;
}

/** Asserts that one warning was all that it said. */
function assertWarned({ said, stderr }: RanHere, why: RegExp): void {
  assertEquals(said.length, 1, stderr);
  assertMatch(said[0]!, /warning: Going on without the remote \w+:\/\/127\./);
  assertMatch(said[0]!, why);
}

test(
  "A server that does not answer is a warning, and nobody asks again for a minute",
  [
    "posix",
  ],
  async () => {
    const all = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;
    for (const way of ["refuses", "hangs up", "is silent"] as const) {
      for (const protocol of ["http", "grpc"]) {
        // Each waits for seconds, again and again.
        const isUsual = (way === "hangs up") === (protocol === "grpc");
        if (!all && !isUsual) continue;
        await using dir = TempDir.make();
        await using port = way === "refuses" ? undefined : new Port(way);
        const address = port?.address ?? `127.0.0.1:${freePorts(1)}`;
        const share = ["--remote", `${protocol}://${address}`, ...WRITE];
        // As it is by default, where it matters.
        const env = { REBUILD_CACHE_REMOTE_TIMEOUT: "2" };
        const machine = new Machine(dir, "machine", env);
        const first = await build(machine, "first", ...share);
        assertWarned(first, /./);
        assertEquals(first.json.result.remote.outcome, "down");
        const asked = port?.connections ?? 0;
        assert(!port || asked > 0);
        const second = await build(machine, "second", ...share);
        assertEquals(second.stderr, "");
        assertEquals(second.json.result.remote.outcome, "off");
        const missed = await machine.run("get", ...share, "third", "out");
        assertEquals([missed.code, missed.said.length], [4, 1], missed.stderr);
        const required = [...share, "--remote-required"];
        const failed = await machine.run("get", ...required, "third", "out");
        assertEquals([failed.code, failed.said.length], [1, 1], failed.stderr);
        assertEquals(port?.connections ?? 0, asked);
        // A minute later it is asked.
        const notes = `${machine.root}/remote-v1`;
        const names = [...Deno.readDirSync(notes)].map(({ name }) => name);
        assertEquals(names.length, 1);
        const then = new Date(Date.now() - 61_000);
        Deno.utimeSync(`${notes}/${names[0]}`, then, then);
        assertWarned(await build(machine, "third", ...share), /./);
        assert(!port || port.connections > asked);
      }
    }
  },
);

test("A server that fails, or refuses, is one warning, and no build fails", [
  "posix",
], async () => {
  const says = (status: number): Answer => () =>
    new Response("it is so", { status });
  const full = (status: number): Answer => ({ method }) =>
    method === "PUT" ? new Response("full", { status }) : undefined;
  const cases: [
    what: string,
    answer: Answer,
    outcome: RemoteReport["outcome"],
    why: RegExp,
  ][] = [
    ["500", says(500), "down", /500/],
    ["503", says(503), "down", /503/],
    ["401", says(401), "refused", /401.*credentials/],
    ["403", says(403), "refused", /403.*credentials/],
    ["400", says(400), "refused", /400/],
    ["500 to PUT", full(500), "down", /PUT with 500/],
    ["507 to PUT", full(507), "down", /PUT with 507/],
    ["413 to PUT", full(413), "refused", /PUT with 413.*too large/],
    ["403 to PUT", full(403), "refused", /PUT with 403.*credentials/],
    ["405 to PUT", full(405), "refused", /PUT with 405/],
  ];
  for (const [what, answer, outcome, why] of cases) {
    await using dir = TempDir.make();
    await using server = new HttpCache(dir.at("server"));
    server.answer = answer;
    const share = ["--remote", server.url, ...WRITE];
    const machine = new Machine(dir, "machine");
    const built = await build(machine, "k", ...share);
    assertWarned(built, why);
    assertEquals(built.json.result.remote.outcome, outcome, what);
    // What was built is there, and a server on a better day gets it.
    server.answer = undefined;
    server.take();
    const again = await build(machine, "k", ...share);
    assertEquals([again.json.result.outcome, again.stderr], ["hit", ""]);
    assertEquals(server.take(), {}, what);
    assertEquals(server.names("ac"), [], what);
  }
});

test(
  "With --remote-required a server that fails, or refuses, is a failure in a line",
  [
    "posix",
  ],
  async () => {
    for (const status of [500, 401]) {
      await using dir = TempDir.make();
      await using server = new HttpCache(dir.at("server"));
      server.answer = () => new Response(null, { status });
      const share = ["--remote", server.url, "--remote-required"];
      const machine = new Machine(dir, "machine");
      dir.write({ tree: { a: "content" } });
      for (
        const words of [
          ["get", ...share, "k", "out"],
          [
            "ensure",
            ...share,
            "k",
            "out",
            "--",
            "cp",
            dir.at("tree", "a"),
            "{}",
          ],
          ["pull", ...share, "k"],
        ]
      ) {
        const [command, ...args] = words;
        const ran = await machine.run(command!, ...args);
        assertEquals(ran.code, 1, `${words}: ${ran.stderr}`);
        // One document, which says that it failed: also where something was built.
        const other = new Machine(dir, `${command} ${status}`);
        const { code, json } = await other.run(command!, "--json", ...args);
        assertEquals([code, command === "pull" || !!json.error], [1, true]);
        const last = ran.said.at(-1)!;
        assert(!last.includes("warning") && !last.includes("\n"), last);
      }
    }
  },
);

test("An answer that stops in the middle is tried again, and then a warning", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  await using server = new HttpCache(dir.at("server"));
  const share = ["--remote", server.url, ...WRITE];
  const writer = new Machine(dir, "writer");
  await build(writer, "k", ...share);
  let stops = 1;
  server.answer = ({ method }, path) => {
    if (method !== "GET" || !path.startsWith("/cas/") || stops-- <= 0) return;
    const { size } = Deno.statSync(server.path("cas", path.slice(5)));
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new Uint8Array(1));
        setTimeout(() => controller.close(), 50);
      },
    });
    return new Response(body, { headers: { "content-length": `${size}` } });
  };
  const once = new Machine(dir, "once");
  const hit = await build(once, "k", ...share);
  assertEquals([hit.json.result.outcome, hit.stderr], ["hit", ""]);
  stops = Infinity;
  const always = new Machine(dir, "always");
  const built = await build(always, "k", ...share);
  assertWarned(built, /./);
  assertEquals(built.json.result.remote.outcome, "down");
});

/** All files of a tree of one level. */
function contentsOf(tree: string): { [name: string]: string } {
  const names = [...Deno.readDirSync(tree)].map(({ name }) => name).sort();
  return Object.fromEntries(
    names.map((name) => [name, Deno.readTextFileSync(`${tree}/${name}`)]),
  );
}

/** Small files, and two large ones. */
function makeContents(seed: string): { [name: string]: string } {
  const small = Array.from(
    { length: 20 },
    (_, at) => [`${at}`, `${seed} ${at}\n`.repeat(at * 50 + 1)],
  );
  const large = [["large", seed.repeat(400_000)], [
    "x",
    `${seed}x`.repeat(1e6),
  ]];
  return Object.fromEntries([...small, ...large]);
}

interface Ensured {
  outcome: "hit" | "built";
  reports: RemoteReport[];
}

/** One ensure of a process of its own, as far as a remote goes. */
async function ensureOnce(
  root: string,
  url: string,
  key: string,
  expected: { [name: string]: string },
): Promise<Ensured> {
  using remote = openRemote(url, {
    mode: "read-write",
    connectTimeout: 1000,
    idleTimeout: 1000,
  });
  const reports: RemoteReport[] = [];
  using entry = await openCache(root, { remote }).ensure(
    key,
    (directory) => {
      TempDir.at(directory).write(expected);
    },
    { onRemote: (it) => reports.push(it) },
  );
  assertEquals(contentsOf(entry.path), expected);
  return { outcome: entry.outcome, reports };
}

async function assertWeathered(port: number, protocol: string): Promise<void> {
  setLogSink({ debug() {}, warn() {} });
  await using relay = Relay.start({ target: port });
  const url = `${protocol}://127.0.0.1:${relay.port}`;
  const seed = new Seeded(protocol);
  const random = () => seed.next();
  const seen: Record<string, number> = {};
  const rounds = STRESS ? 200 : 20;
  for (let round = 0; round < rounds; round++) {
    await using dir = TempDir.make();
    const expected = makeContents(`${protocol} ${round} `);
    for (const name of ["one", "two"]) {
      // Some are cut at once, some in the middle, some not at all.
      const way = random() * 4;
      relay.cutAfter = way < 1
        ? 1 + random() * 500
        : way < 3
        ? random() * 50_000
        : Infinity;
      const timer = way > 2 && way < 3.5
        ? setTimeout(() => relay.cut(), random() * 100)
        : undefined;
      const key = `${round}`;
      const ensured = await ensureOnce(dir.at(name), url, key, expected);
      clearTimeout(timer);
      for (const { outcome, reason = "" } of ensured.reports) {
        seen[outcome] = (seen[outcome] ?? 0) + 1;
        assert(
          ["hit", "miss", "pushed", "down", "off"].includes(outcome),
          reason,
        );
      }
      const cache = openCache(dir.at(name));
      assertEquals((await cache.verify()).damaged, []);
    }
    relay.cutAfter = Infinity;
    const rest = { root: dir.at("three"), expected };
    // Whatever was left there is nothing, or all.
    await ensureOnce(rest.root, url, `${round}`, rest.expected);
  }
  assert((seen.hit ?? 0) > 0 && (seen.pushed ?? 0) > 0, JSON.stringify(seen));
  setLogSink(undefined);
}

test("Connections that are cut never make a wrong tree: bazel-remote, gRPC", [
  "bazel-remote",
], async () => {
  await using server = await startBazelRemote();
  await assertWeathered(server.grpcPort, "grpc");
});

test("Connections that are cut never make a wrong tree: bazel-remote, HTTP", [
  "bazel-remote",
], async () => {
  await using server = await startBazelRemote();
  await assertWeathered(server.httpPort, "http");
});

test("Connections that are cut never make a wrong tree: nginx", [
  "nginx",
], async () => {
  await using server = await startNginx();
  await assertWeathered(server.port, "http");
});

test("A server that was started anew between two calls is asked as before", [
  "bazel-remote",
], async () => {
  for (const kind of ["grpc", "http"] as const) {
    await using dir = TempDir.make();
    await using server = await startBazelRemote();
    const expected = makeContents("restart ");
    const make = (directory: string) => {
      TempDir.at(directory).write(expected);
    };
    // One remote all the time, so that its connections have died meanwhile.
    using remote = openRemote(server[kind], { mode: "read-write" });
    const ensure = async (root: string, key: string) => {
      const reports: string[] = [];
      using entry = await openCache(dir.at(root), { remote }).ensure(
        key,
        make,
        {
          onRemote: ({ outcome }) => reports.push(outcome),
        },
      );
      assertEquals(contentsOf(entry.path), expected);
      return reports;
    };
    assertEquals(await ensure("one", "k"), ["miss", "pushed"]);
    await server.process.restart();
    assertEquals(await ensure("two", "k"), ["hit"]);
    await server.process.restart();
    assertEquals(await ensure("two", "l"), ["miss", "pushed"]);
  }
});
