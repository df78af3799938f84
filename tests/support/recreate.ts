// recreate.ts DIR DIRECTORIES FILES: as long as its standard input is open, makes
// DIR again whenever it is missing: built beside it, put there by one rename.
// Every file holds the tree's version, which is unlike all others.
const [dir, directories, files] = Deno.args as [string, string, string];
let open = true;
Deno.stdin.read(new Uint8Array(1)).then(() => open = false);

let made = 0;
while (open) {
  const version = crypto.randomUUID();
  const bytes = new TextEncoder().encode(version);
  const staging = `${dir}-new-${Deno.pid}`;
  for (let d = 0; d < Number(directories); d++) {
    Deno.mkdirSync(`${staging}/${d}`, { recursive: true });
    for (let f = 0; f < Number(files); f++) {
      Deno.writeFileSync(`${staging}/${d}/${f}`, bytes);
    }
  }
  Deno.writeFileSync(`${staging}/version`, bytes);
  for (;;) {
    try {
      Deno.renameSync(staging, dir);
      made++;
      break;
    } catch {
      if (!open) {
        Deno.removeSync(staging, { recursive: true });
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 5)); // it still stands
    }
  }
}
Deno.stdout.writeSync(new TextEncoder().encode(String(made)));
