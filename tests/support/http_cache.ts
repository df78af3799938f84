/** What a request is answered with, in the place of what would be. */
export type Answer = (request: Request, path: string) => Response | undefined;

/**
 * Bazel's HTTP cache in this process, over a directory: `/ac/` and `/cas/`. It checks
 * nothing, and can be made to lie.
 */
export class HttpCache implements AsyncDisposable {
  readonly url: string;
  /** `METHOD /ac` and `METHOD /cas` of all requests. */
  readonly requests: string[] = [];
  /** Bytes of all bodies that came. */
  cameBytes = 0;
  /** Bytes of all bodies that were sent. */
  sentBytes = 0;
  knowsRanges = true;
  /** Is waited for first. */
  before: ((request: Request, path: string) => Promise<void>) | undefined;
  /** Answers first. */
  answer: Answer | undefined;
  readonly #root: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  /** @param root An empty directory of its own. */
  constructor(root: string, port = 0) {
    this.#root = root;
    for (const folder of ["ac", "cas"]) {
      Deno.mkdirSync(`${root}/${folder}`, { recursive: true });
    }
    const options = { hostname: "127.0.0.1", port, onListen: () => {} };
    this.#server = Deno.serve(options, (request) => this.#answer(request));
    this.url = `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** How often each kind of request came, since it was asked the last time. */
  take(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const it of this.requests.splice(0)) {
      counts[it] = (counts[it] ?? 0) + 1;
    }
    return counts;
  }

  /** Where a content, or an action result, lies. */
  path(folder: "ac" | "cas", hash: string): string {
    return `${this.#root}/${folder}/${hash}`;
  }

  /** All that is there. */
  names(folder: "ac" | "cas"): string[] {
    return [...Deno.readDirSync(`${this.#root}/${folder}`)].map((it) =>
      it.name
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const [, folder] = pathname.split("/");
    this.requests.push(`${request.method} /${folder}`);
    const body = new Uint8Array(await request.arrayBuffer());
    this.cameBytes += body.length;
    await this.before?.(request, pathname);
    const other = this.answer?.(request, pathname);
    if (other) return other;
    if (!/^\/(ac|cas)\/[0-9a-f]{64}$/.test(pathname)) {
      return new Response(null, { status: 404 });
    }
    const path = this.#root + pathname;
    if (request.method === "PUT") {
      const temporary = `${this.#root}/${crypto.randomUUID()}`;
      Deno.writeFileSync(temporary, body);
      Deno.renameSync(temporary, path);
      return new Response(null, { status: 201 });
    }
    return this.#get(request, path);
  }

  #get(request: Request, path: string): Response {
    let content: Uint8Array<ArrayBuffer>;
    try {
      content = Deno.readFileSync(path);
    } catch {
      return new Response(null, { status: 404 });
    }
    if (request.method === "HEAD") {
      const headers = { "content-length": String(content.length) };
      return new Response(null, { headers });
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(
      request.headers.get("range") ?? "",
    );
    if (!range || !this.knowsRanges) {
      this.sentBytes += content.length;
      return new Response(content);
    }
    const [from, to] = [Number(range[1]), Number(range[2])];
    const part = content.slice(from, to + 1);
    this.sentBytes += part.length;
    const headers = {
      "content-range": `bytes ${from}-${to}/${content.length}`,
    };
    return new Response(part, { status: 206, headers });
  }
}
