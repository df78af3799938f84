// watch.ts PATH: looks at it all the time, until its standard input ends; then says
// how often, and how often it was not there.
const [path] = Deno.args as [string];
const say = (text: string) =>
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
let open = true;
Deno.stdin.read(new Uint8Array(1)).then(() => open = false);
let [looks, missing] = [0, 0];
say("watching");
while (open) {
  for (let i = 0; i < 1000; i++) {
    looks++;
    try {
      Deno.lstatSync(path);
    } catch {
      missing++;
    }
  }
  await new Promise((resolve) => setTimeout(resolve, 0));
}
say(JSON.stringify({ looks, missing }));
