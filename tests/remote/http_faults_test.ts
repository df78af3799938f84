/** What servers do wrong: written by hand, since none of the real ones does it. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { type RemoteSink, WrongContent } from "../../lib/cache/remote.ts";
import { HttpEngine } from "../../lib/remote/http.ts";
import { test } from "../support/needs.ts";
import {
  digestOf,
  MemorySink,
  MemorySource,
  randomContent,
} from "../support/remote_contents.ts";
import { refusal, weather, wrong } from "../support/remote_errors.ts";
import { Relay } from "../support/relay.ts";
import { freePorts } from "../support/server.ts";

const call = { signal: new AbortController().signal };

/** A server on loopback that does what it is told. */
function serve(handle: (request: Request) => Response | Promise<Response>) {
  const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
  const server = Deno.serve(options, handle);
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    port: server.addr.port,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** A server of one answer, byte by byte, that then hangs up. */
function answer(...pieces: (string | Uint8Array)[]) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let asked = 0;
  const handle = async (connection: Deno.TcpConn) => {
    using it = connection;
    await it.read(new Uint8Array(1 << 16));
    asked++;
    for (const piece of pieces) {
      const bytes = typeof piece === "string"
        ? new TextEncoder().encode(piece)
        : piece;
      for (let at = 0; at < bytes.length;) {
        at += await it.write(bytes.subarray(at));
      }
    }
  };
  const done = (async () => {
    for await (const it of listener) await handle(it).catch(() => {});
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      listener.close();
      await done;
    },
  };
}

const content = randomContent(1000);
const digest = digestOf(content);
const large = randomContent(3 << 20);
const largeDigest = digestOf(large);
const OK = "HTTP/1.1 200 OK\r\n";

function download(engine: HttpEngine, of = digest, sink = new MemorySink()) {
  return engine.download([of], sink, call);
}

test(
  "HttpEngine tries again where a body is cut, and gives up",
  ["net"],
  async () => {
    for (
      const head of [
        "content-length: 1000\r\n",
        "transfer-encoding: chunked\r\n",
      ]
    ) {
      await using server = answer(`${OK}${head}\r\n`, "5\r\nhallo\r\n");
      using engine = new HttpEngine(server.url);
      await weather(() => download(engine), /reading a body/);
      assertEquals(server.asked(), 3);
      await weather(() => engine.getAction(digest, call), /reading a body/);
    }
  },
);

test("HttpEngine streams once more what was cut in the middle", [
  "net",
], async () => {
  let asked = 0;
  await using server = serve(() => {
    asked++;
    return new Response(large);
  });
  await using relay = Relay.start({ target: server.port });
  relay.cutAfter = 1 << 20;
  using engine = new HttpEngine(`http://127.0.0.1:${relay.port}`);
  const sink = new MemorySink();
  assertEquals(await download(engine, largeDigest, sink), []);
  assertEquals([asked, sink.streams, sink.byHash.size], [2, 2, 1]);
});

test(
  "HttpEngine tries 5xx and 429 again, and nothing else",
  ["net"],
  async () => {
    for (
      const [status, again] of [
        [500, true],
        [502, true],
        [503, true],
        [429, true],
        [507, false],
      ] as const
    ) {
      let asked = 0;
      let passes = false;
      await using server = serve(() =>
        ++asked === 3 && passes
          ? new Response(content)
          : new Response("no", { status })
      );
      using engine = new HttpEngine(server.url);
      await weather(() => download(engine), new RegExp(`GET with ${status}`));
      assertEquals(asked, again ? 3 : 1, `${status}`);
      asked = 0;
      passes = true;
      if (again) assertEquals(await download(engine), []);
    }
  },
);

test("HttpEngine is refused by 4xx, at once", ["net"], async () => {
  let asked = 0;
  let status = 0;
  await using server = serve((request) => {
    asked++;
    return new Response(request.method === "HEAD" ? null : "no", { status });
  });
  using engine = new HttpEngine(server.url);
  const source = new MemorySource();
  source.add(content);
  const upload = () => engine.upload([{ digest }], source, call);
  for (status of [400, 401, 403, 404, 405, 409, 411, 413, 501]) {
    asked = 0;
    await refusal(upload, new RegExp(`PUT with ${status}`));
    assertEquals(asked, 1);
  }
  for (status of [400, 401, 403, 418]) {
    await refusal(() => download(engine), new RegExp(`GET with ${status}`));
    await refusal(() => engine.missing([digest], call), /HEAD with/);
  }
  // Who knows no HEAD is sent everything.
  for (status of [404, 405, 501]) {
    assertEquals(await engine.missing([digest], call), [digest]);
  }
});

test("HttpEngine takes no body of another length", ["net"], async () => {
  const more = `${OK}content-length: 1001\r\n\r\n${"x".repeat(1001)}`;
  const fewer = `${OK}content-length: 999\r\n\r\n${"x".repeat(999)}`;
  const open = `${OK}\r\n${"x".repeat(1001)}`;
  const short = `${OK}\r\n${"x".repeat(999)}`;
  for (const it of [more, fewer, open, short]) {
    await using server = answer(it);
    using engine = new HttpEngine(server.url);
    await wrong(() => download(engine), /another length/);
    const range = { digest, from: 1, to: 3 };
    await wrong(() => engine.range(range, call), /another length/);
    assertEquals(server.asked(), 2);
  }
});

test("HttpEngine.range() takes no other part", ["net"], async () => {
  let status = 206;
  let said: string | undefined;
  await using server = serve(() =>
    new Response(content.subarray(0, 2), {
      status,
      headers: { ...said !== undefined && { "content-range": said } },
    })
  );
  using engine = new HttpEngine(server.url);
  const range = { digest, from: 1, to: 3 };
  for (
    said of [undefined, "bytes 0-1/1000", "bytes 1-2/999", "bytes 1-3/1000"]
  ) {
    await wrong(() => engine.range(range, call), /another range/);
  }
  for (said of ["bytes 1-2/1000", "bytes 1-2/*"]) {
    assertEquals(await engine.range(range, call), content.subarray(0, 2));
  }
  status = 416;
  await wrong(() => engine.range(range, call), /416/);
  for (const [from, to] of [[-1, 3], [3, 1], [0, 1001]] as const) {
    await wrong(() => engine.range({ digest, from, to }, call), /cannot be/);
  }
});

test(
  "HttpEngine reads no more of a bomb than it asked for",
  ["net"],
  async () => {
    let sent = 0;
    await using server = serve(() =>
      new Response(
        new ReadableStream({
          pull(controller) {
            sent += 1 << 20;
            controller.enqueue(new Uint8Array(1 << 20));
          },
        }),
      )
    );
    using engine = new HttpEngine(server.url);
    await wrong(() => download(engine, largeDigest), /another length/);
    await wrong(
      () => engine.range({ digest, from: 1, to: 3 }, call),
      /another/,
    );
    assert(sent < 100 << 20, `${sent}`);
    await wrong(() => engine.getAction(digest, call), /more than an action/);
  },
);

test("HttpEngine takes no web page, no other content, and nothing encoded", [
  "net",
], async () => {
  let headers: Record<string, string> = { "content-type": "text/html" };
  let body: string | Uint8Array<ArrayBuffer> = "<html>Log in</html>";
  await using server = serve(() => new Response(body, { headers }));
  using engine = new HttpEngine(server.url);
  await wrong(() => download(engine), /web page/);
  await wrong(() => download(engine, largeDigest), /web page/);
  await wrong(() => engine.getAction(digest, call), /web page/);
  body = new Uint8Array(1000);
  headers = {};
  await wrong(() => download(engine), /It is not/);
  body = content;
  headers = { "content-encoding": "gzip" };
  await wrong(() => download(engine), /encoded/);
  // One that is a page is none the less what it is.
  headers = { "content-type": "text/html" };
  assertEquals(await download(engine), []);
});

test(
  "HttpEngine asks for what it gets: identity, and bytes of a known length",
  [
    "net",
  ],
  async () => {
    const heard: Headers[] = [];
    await using server = serve(async (request) => {
      heard.push(request.headers);
      await request.arrayBuffer();
      return new Response(null, {
        status: request.method === "PUT" ? 200 : 404,
      });
    });
    const headers = { "x-of-ours": "yes" };
    using engine = new HttpEngine(server.url, { headers });
    await download(engine);
    const source = new MemorySource();
    const sizes = [0, 1000, 3 << 20];
    for (const size of sizes) {
      const digest = source.add(randomContent(size));
      await engine.upload([{ digest }], source, call);
    }
    const all = (name: string) => heard.map((it) => it.get(name));
    assertEquals(all("accept-encoding"), Array(4).fill("identity"));
    assertEquals(all("x-of-ours"), Array(4).fill("yes"));
    assertEquals(all("content-length"), [null, ...sizes.map(String)]);
    assertEquals(all("transfer-encoding"), Array(4).fill(null));
  },
);

test("HttpEngine takes nobody's credentials elsewhere", ["net"], async () => {
  const heard: (string | null)[] = [];
  await using other = serve((request) => {
    heard.push(request.headers.get("authorization"));
    return new Response(content);
  });
  let to = "";
  let status = 307;
  await using server = serve(async (request) => {
    await request.arrayBuffer();
    return new Response(null, { status, headers: { location: to } });
  });
  const headers = { authorization: "Basic s3cret" };
  using engine = new HttpEngine(server.url, { headers });
  const source = new MemorySource();
  source.add(content);
  for (status of [301, 302, 303, 307, 308]) {
    for (
      to of [
        `${other.url}/cas/x`, // another port
        `http://localhost:${other.port}/`,
        `http://localhost:${server.port}/`, // another name
        "https://127.0.0.1/", // another port, though it is https
        "ftp://127.0.0.1/",
        `http://user:s3cret@localhost:${other.port}/?s3cret`,
      ]
    ) {
      const error = await refusal(() => download(engine), /redirects to/);
      assert(!Deno.inspect(error).includes("s3cret"));
      await refusal(
        () => engine.upload([{ digest }], source, call),
        /redirects to|PUT with 30/,
      );
      await refusal(() => engine.missing([digest], call), /redirects to/);
    }
  }
  to = "";
  await refusal(() => download(engine), /on and on|with 308/);
  assertEquals(heard, []);
});

test("HttpEngine follows a redirect on the same server, with its upload", [
  "net",
], async () => {
  const puts: number[] = [];
  const heard: (string | null)[] = [];
  await using server = serve(async (request) => {
    const { pathname } = new URL(request.url);
    const body = await request.bytes();
    if (pathname.startsWith("/ac") || pathname.startsWith("/cas")) {
      const headers = { location: `/there${pathname}` };
      return new Response(null, { status: 307, headers });
    }
    heard.push(request.headers.get("authorization"));
    if (request.method === "PUT") puts.push(body.length);
    return new Response(request.method === "GET" ? content : null);
  });
  const headers = { authorization: "Basic s3cret" };
  using engine = new HttpEngine(server.url, { headers });
  assertEquals(await download(engine), []);
  const source = new MemorySource();
  const digests = [content, large].map((it) => source.add(it));
  for (const digest of digests) {
    await engine.upload([{ digest }], source, call);
  }
  assertEquals(puts, [content.length, large.length]);
  assertEquals(heard, Array(3).fill("Basic s3cret"));
});

test("HttpEngine follows no redirects for ever", ["net"], async () => {
  let asked = 0;
  await using server = serve(() => {
    asked++;
    return new Response(null, { status: 302, headers: { location: "/x" } });
  });
  using engine = new HttpEngine(server.url);
  await refusal(() => download(engine), /on and on/);
  assertEquals(asked, 4);
});

test("HttpEngine finds nobody where nobody is", ["net"], async () => {
  const [port] = freePorts(1);
  for (const host of [`127.0.0.1:${port}`, "no-such-host.invalid"]) {
    using engine = new HttpEngine(`http://${host}/x?s3cret=1`);
    const error = await weather(
      () => download(engine),
      /refused|dns error|no answer/i,
    );
    assert(!Deno.inspect(error).includes("s3cret"));
  }
});

test(
  "HttpEngine speaks with nobody who speaks something else",
  ["net"],
  async () => {
    await using server = answer("SSH-2.0-OpenSSH_9.2p1\r\n");
    using engine = new HttpEngine(server.url);
    await refusal(() => download(engine), /HTTP/);
    using secure = new HttpEngine(server.url.replace("http", "https"));
    await refusal(() => download(secure), /corrupt message/);
  },
);

test("HttpEngine gives a black hole no more than the time to connect", [
  "net",
], async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const kept: Deno.Conn[] = [];
  const done = (async () => {
    for await (const it of listener) kept.push(it);
  })();
  try {
    for (const scheme of ["http", "https"]) {
      const url = `${scheme}://127.0.0.1:${listener.addr.port}`;
      using engine = new HttpEngine(url, { connectTimeout: 400 });
      const digests = [1, 2, 3].map(() => digestOf(randomContent(9)));
      await weather(
        () => engine.missing(digests, call),
        /no answer within 0.4 s/,
      );
      // Not again: that would take as long.
      assertEquals(engine.counts.calls, 3 + 1);
      const source = new MemorySource();
      const upload = () =>
        engine.upload([{ digest: source.add(large) }], source, call);
      await weather(upload, /no answer within 0.4 s/);
      assertEquals(source.open, 0);
    }
  } finally {
    listener.close();
    await done;
    for (const it of kept) it.close();
  }
});

test(
  "HttpEngine waits for a first answer that takes its time, if somebody is there",
  [
    "net",
  ],
  async () => {
    await using server = serve(async ({ url }) => {
      if (!url.includes("e3b0c442")) {
        await new Promise((r) => setTimeout(r, 1500));
      }
      return new Response(content);
    });
    using engine = new HttpEngine(server.url, {
      connectTimeout: 1000,
      idleTimeout: 30_000,
    });
    assertEquals(await download(engine), []);
  },
);

test("HttpEngine waits for a slow drip longer than its deadline", [
  "net",
], async () => {
  await using server = serve(() => {
    let at = 0;
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          controller.enqueue(content.subarray(at, at += 25));
          if (at >= content.length) controller.close();
        },
      }),
    );
  });
  using engine = new HttpEngine(server.url, { idleTimeout: 2_000 });
  const begun = performance.now();
  assertEquals(await download(engine), []);
  assert(performance.now() - begun > 2_000);
});

test("HttpEngine waits for a server that takes an upload slowly", [
  "net",
], async () => {
  let taken = 0;
  await using server = serve(async (request) => {
    for await (const chunk of request.body ?? []) {
      taken += chunk.length;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return new Response();
  });
  using engine = new HttpEngine(server.url, { idleTimeout: 2_000 });
  const source = new MemorySource();
  const digest = source.add(randomContent(24 << 20));
  const begun = performance.now();
  await engine.upload([{ digest }], source, call);
  assert(performance.now() - begun > 2_000);
  assertEquals(taken, digest.size);
});

test("HttpEngine gives up on a body that stops", ["net"], async () => {
  await using server = serve(() =>
    new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(content.subarray(0, 10)),
      }),
    )
  );
  using engine = new HttpEngine(server.url, { idleTimeout: 300 });
  await weather(() => download(engine), /not a byte in 0.3 s/);
  await weather(() => download(engine, largeDigest), /not a byte in 0.3 s/);
  assertEquals(engine.counts.calls, 2);
});

test("HttpEngine ends with the signal, with its reason", ["net"], async () => {
  const stop = new AbortController();
  await using server = serve(async (request) => {
    if (request.method === "PUT") await request.body?.cancel();
    await new Promise<void>((resolve) =>
      stop.signal.addEventListener("abort", () => resolve())
    );
    return new Response(null, { status: 404 });
  });
  using engine = new HttpEngine(server.url);
  const source = new MemorySource();
  source.add(large);
  const reason = new Error("that is enough");
  for (
    const work of [
      (signal: AbortSignal) => engine.getAction(digest, { signal }),
      (signal: AbortSignal) =>
        engine.missing([digest, largeDigest], { signal }),
      (signal: AbortSignal) =>
        engine.download([digest, largeDigest], new MemorySink(), { signal }),
      (signal: AbortSignal) =>
        engine.upload([{ digest: largeDigest }], source, { signal }),
      (signal: AbortSignal) =>
        engine.range({ digest, from: 1, to: 2 }, { signal }),
    ]
  ) {
    const abort = new AbortController();
    setTimeout(() => abort.abort(reason), 50);
    const error = await assertRejects(() => work(abort.signal));
    assertEquals(error, reason);
    assertEquals(await assertRejects(() => work(abort.signal)), reason);
  }
  assertEquals(source.open, 0);
  stop.abort();
});

test(
  "HttpEngine throws what the sink and the source throw, once",
  ["net"],
  async () => {
    let asked = 0;
    await using server = serve(async (request) => {
      asked++;
      const isPut = request.method === "PUT";
      if (isPut) await request.arrayBuffer().catch(() => {});
      const isLarge = request.url.endsWith(largeDigest.hash);
      return new Response(isPut ? null : isLarge ? large : content);
    });
    using engine = new HttpEngine(server.url);
    const full = new Error("the disk is full");
    const sink: RemoteSink = {
      has: () => false,
      put() {
        throw full;
      },
      async stream(_, pieces) {
        for await (const _ of pieces) throw full;
      },
    };
    for (const it of [digest, largeDigest]) {
      const failed = await assertRejects(() =>
        engine.download([it], sink, call)
      );
      assertEquals(failed, full);
    }
    assertEquals(asked, 2);
    const source = {
      read(): never {
        throw full;
      },
      // deno-lint-ignore require-yield
      async *stream() {
        await Promise.resolve();
        throw full;
      },
    };
    for (const digest of [digestOf(content), largeDigest]) {
      const upload = () => engine.upload([{ digest }], source, call);
      assertEquals(await assertRejects(upload), full);
    }
  },
);

test("HttpEngine counts what went over the wire", ["net"], async () => {
  await using server = serve(async (request) => {
    await request.arrayBuffer();
    return new Response(request.method === "GET" ? content : null);
  });
  using engine = new HttpEngine(server.url);
  let bytes = 0;
  const counted = { ...call, onBytes: (more: number) => bytes += more };
  await engine.download([digest], new MemorySink(), counted);
  const source = new MemorySource();
  await engine.upload([{ digest: source.add(large) }], source, counted);
  await engine.missing([digest], counted);
  assertEquals(engine.counts, {
    calls: 3,
    sentBytes: large.length,
    receivedBytes: content.length,
  });
  assertEquals(bytes, large.length + content.length);
});

test(
  "HttpEngine tells no header and no key that it cannot send",
  [],
  async () => {
    for (
      const options of [
        { headers: { authorization: "s3cret\nx" } },
        { cert: "s3cret", key: "s3cret" },
      ]
    ) {
      const make = () =>
        Promise.resolve(new HttpEngine("http://127.0.0.1", options));
      const error = await refusal(async () => await make(), /cannot be/);
      assert(!Deno.inspect(error).includes("s3cret"));
    }
  },
);

test("HttpEngine sends nothing of another length than it said", [
  "net",
], async () => {
  await using server = serve(async (request) => {
    await request.arrayBuffer().catch(() => {}); // it never ends
    return new Response();
  });
  using engine = new HttpEngine(server.url);
  for (const size of [0, 999, 1001]) {
    const changed = new MemorySource();
    changed.byHash.set(digest.hash, randomContent(size));
    const upload = () => engine.upload([{ digest }], changed, call);
    await assertRejects(upload, WrongContent, "not of 1000 bytes");
  }
});
