import { assert, assertEquals, assertRejects } from "@std/assert";
import { type EngineOptions, RemoteError } from "../../lib/remote/engine.ts";
import { GrpcEngine } from "../../lib/remote/grpc.ts";
import { makeCertificates } from "../support/certificates.ts";
import { test } from "../support/needs.ts";
import { Relay } from "../support/relay.ts";
import { freePorts, ServerProcess } from "../support/server.ts";
import { startBazelRemote } from "../support/servers.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const ACTION = { hash: "a".repeat(64), size: 100 };

function call(): { signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

/** Opens an engine, which fails. */
async function refusal(
  url: string,
  options: EngineOptions = {},
): Promise<RemoteError> {
  using engine = new GrpcEngine(url, options);
  return await assertRejects(() => engine.open(call()), RemoteError);
}

Deno.test("GrpcEngine says down of a port that nobody listens on, and of no host", async () => {
  const [port] = freePorts(1);
  for (const host of [`127.0.0.1:${port}`, `no-such-host.invalid:${port}`]) {
    using engine = new GrpcEngine(`grpc://${host}`);
    const error = await assertRejects(() => engine.open(call()), RemoteError);
    assertEquals(error.kind, "down");
    assertEquals(engine.counts.calls, 3); // It is tried again, twice.
  }
});

Deno.test("GrpcEngine says down of a black hole, by its deadlines", async () => {
  await using hole = new Hole();
  for (const scheme of ["grpc", "grpcs"]) {
    const url = `${scheme}://127.0.0.1:${hole.port}`;
    const error = await refusal(url, { connectTimeout: 100 });
    assertEquals(error.kind, "down");
    assertEquals(error.message, "The server did not answer within 0.1 s");
  }
});

test(
  "GrpcEngine says down of a server that falls silent, and then finds it again",
  [
    "bazel-remote",
  ],
  async () => {
    await using server = await startBazelRemote();
    await using relay = Relay.start({ target: server.grpcPort });
    const url = `grpc://127.0.0.1:${relay.port}`;
    using engine = new GrpcEngine(url, { idleTimeout: 1000 });
    await engine.open(call());
    relay.stall();
    const errors = await Promise.all(
      [1, 2, 3, 4].map(() =>
        assertRejects(() => engine.getAction(ACTION, call()), RemoteError)
      ),
    );
    for (const error of errors) assertEquals(error.kind, "down");
    relay.resume();
    assertEquals(await engine.getAction(ACTION, call()), undefined);
  },
);

Deno.test("GrpcEngine says refused of what is no gRPC", async () => {
  const page = { headers: { "content-type": "text/html" } };
  const answers: [number, RemoteError["kind"]][] = [
    [200, "refused"],
    [302, "refused"],
    [401, "refused"],
    [403, "refused"],
    [404, "refused"],
    [503, "down"],
  ];
  for (const [status, kind] of answers) {
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response("<html></html>", { ...page, status }),
    );
    const error = await refusal(`grpc://127.0.0.1:${server.addr.port}`);
    assertEquals([status, error.kind], [status, kind], error.message);
  }
});

Deno.test("GrpcEngine says refused of a server that knows no HTTP/2", async () => {
  const greetings = ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-Server\r\n"];
  for (const greeting of greetings) {
    await using hole = new Hole(greeting);
    const error = await refusal(`grpc://127.0.0.1:${hole.port}`);
    assertEquals(error.kind, "refused", error.message);
  }
});

test("GrpcEngine speaks TLS with whom it is told to trust", [
  "bazel-remote",
  "openssl",
], async () => {
  await using dir = TempDir.make();
  const tls = await makeCertificates(dir.path);
  await using server = await startBazelRemote({ tls });
  using engine = new GrpcEngine(server.grpc, {
    connectTimeout: 60_000,
    ca: tls.ca,
  });
  assertEquals(await engine.open(call()), { update: true });
  using local = new GrpcEngine(`grpcs://localhost:${server.grpcPort}`, {
    ca: tls.ca,
  });
  // By either family: the server listens on one of them.
  assertEquals(await local.open(call()), { update: true });
  const error = await refusal(server.grpc);
  assertEquals(error.kind, "refused", error.message);
  await using plain = await startBazelRemote();
  const other = plain.grpc.replace("grpc:", "grpcs:");
  assertEquals((await refusal(other, { ca: tls.ca })).kind, "refused");
});

test("GrpcEngine refuses a certificate of another name", [
  "bazel-remote",
  "openssl",
  "linux",
], async () => {
  await using dir = TempDir.make();
  const tls = await makeCertificates(dir.path);
  await using server = await startBazelRemote({ tls });
  await using relay = Relay.start({ target: server.grpcPort });
  // Loopback, too, and not in the certificate.
  using listener = Deno.listen({ hostname: "127.0.0.2", port: 0 });
  const pipes: Promise<unknown>[] = [];
  const serving = (async () => {
    const client = await listener.accept();
    const target = await Deno.connect({
      hostname: "127.0.0.1",
      port: relay.port,
    });
    pipes.push(
      client.readable.pipeTo(target.writable),
      target.readable.pipeTo(client.writable),
    );
  })();
  const url = `grpcs://127.0.0.2:${listener.addr.port}`;
  const error = await refusal(url, { ca: tls.ca });
  await serving;
  await Promise.allSettled(pipes);
  assertEquals(error.kind, "refused", error.message);
});

test("GrpcEngine shows its own certificate where it is asked for one", [
  "bazel-remote",
  "openssl",
], async () => {
  await using dir = TempDir.make();
  const tls = await makeCertificates(dir.path);
  await using server = await startBazelRemote({ tls, mutual: true });
  const { ca, cert, key } = tls;
  using engine = new GrpcEngine(server.grpc, {
    connectTimeout: 60_000,
    ca,
    cert,
    key,
  });
  assertEquals(await engine.open(call()), { update: true });
  const error = await refusal(server.grpc, { ca });
  assertEquals(error.kind, "refused", error.message);
});

test(
  "GrpcEngine goes on at the first call after its server was killed and started again",
  [
    "bazel-remote",
  ],
  async () => {
    await using dir = TempDir.make();
    const [port] = freePorts(1) as [number];
    using engine = new GrpcEngine(`grpc://127.0.0.1:${port}`);
    for (let i = 0; i < 3; i++) {
      await using server = await startOn(port, dir);
      assertEquals(await engine.getAction(ACTION, call()), undefined);
      await server.stop();
      if (i === 1) continue; // Nobody asks while it is away.
      const error = await assertRejects(
        () => engine.getAction(ACTION, call()),
        RemoteError,
      );
      assertEquals(error.kind, "down", error.message);
    }
    assert(engine.counts.calls >= 3 + 2 * 3);
  },
);

/** bazel-remote with a port that is given. */
async function startOn(port: number, dir: TempDir): Promise<ServerProcess> {
  const server = await ServerProcess.start("bazel-remote", 1, (_, [http]) => [
    ...["--max_size", "1", "--access_log_level", "none"],
    ...["--dir", dir.at("cache"), "--http_address", `127.0.0.1:${http}`],
    ...["--grpc_address", `127.0.0.1:${port}`],
  ]);
  await until("it listens", () => {
    return Deno.connect({ hostname: "127.0.0.1", port })
      .then((it) => (it.close(), true), () => false);
  });
  return server;
}

/** Takes connections and whatever comes, and says a greeting, or nothing. */
class Hole implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done: Promise<void>;
  readonly port = this.#listener.addr.port;

  constructor(greeting?: string) {
    this.#done = this.#serve(greeting);
  }

  async #serve(greeting?: string): Promise<void> {
    const bytes = new TextEncoder().encode(greeting ?? "");
    const open: Promise<unknown>[] = [];
    for await (const it of this.#listener) {
      if (greeting) await it.write(bytes);
      open.push(it.readable.pipeTo(new WritableStream()));
    }
    await Promise.allSettled(open);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}
