// link_many.ts SRC PREFIX COUNT: hard-links SRC to PREFIX0, PREFIX1, …
import { linkFile } from "../../lib/link/file.ts";

const [source, prefix, count] = Deno.args as [string, string, string];
for (let i = 0; i < Number(count); i++) {
  await linkFile(source, prefix + i, { mode: "hardlink" });
}
