// serve.ts FOLDER TAG PORT: serves a folder as GitHub serves the files of a release,
// for what is tried before it is published.

/** Answers as …/releases does, where TAG is the latest. */
export function releases(folder: string, tag: string) {
  return async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url);
    const match = /^\/(?:latest\/download|download\/([^/]+))\/([\w.-]+)$/.exec(
      pathname,
    );
    const [, asked = tag, name] = match ?? [];
    if (!name || asked !== tag) return new Response("", { status: 404 });
    try {
      const file = await Deno.open(`${folder}/${name}`);
      return new Response(file.readable);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return new Response("", { status: 404 });
    }
  };
}

if (import.meta.main) {
  const [folder, tag, port] = Deno.args as [string, string, string];
  Deno.serve(
    { hostname: "127.0.0.1", port: Number(port) },
    releases(folder, tag),
  );
}
