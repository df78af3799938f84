// link_often.ts SRC PREFIX COUNT: hard-links SRC to PREFIX0, PREFIX1, …; says how
// often each mode was used.
import { linkFile } from "../../mod.ts";

const [source, prefix, count] = Deno.args as [string, string, string];
const modes: Record<string, number> = {};
for (let i = 0; i < Number(count); i++) {
  const { mode } = await linkFile(source, prefix + i, { mode: "hardlink" });
  modes[mode] = (modes[mode] ?? 0) + 1;
}
Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(modes)}\n`));
