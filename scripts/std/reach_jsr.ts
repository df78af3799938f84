// Exits with 0 if JSR answers within a second and a half, else with 1.
try {
  const response = await fetch("https://jsr.io/@std/path/meta.json", {
    signal: AbortSignal.timeout(1500),
  });
  await response.body?.cancel();
  Deno.exit(response.ok ? 0 : 1);
} catch {
  Deno.exit(1);
}
