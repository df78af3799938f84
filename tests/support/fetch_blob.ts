// fetch_blob.ts ROOT DST: gets the blob "content", which must be there or on its way.
import { openCache } from "../../lib/cache/cache.ts";

const [root, dst] = Deno.args as [string, string];
const digest =
  "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
await openCache(root).blob(digest, dst, {
  fetch: (path) => Deno.writeTextFileSync(path, "content"),
});
