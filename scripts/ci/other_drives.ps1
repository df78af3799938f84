# Runs tests on file systems that a runner's own drive is not: exFAT (no hard links, no
# links at all) and a Dev Drive (ReFS, with clones). In virtual disks; needs an administrator.
$ErrorActionPreference = 'Stop'

# A new disk with one partition; gives its letter.
function New-Disk([string]$Letter, [int]$Megabytes) {
  $file = Join-Path $env:RUNNER_TEMP "$Letter.vhdx"
  $script = Join-Path $env:RUNNER_TEMP "$Letter.txt"
  Set-Content -LiteralPath $script -Value @"
create vdisk file="$file" maximum=$Megabytes type=expandable
select vdisk file="$file"
attach vdisk
create partition primary
assign letter=$Letter
"@
  diskpart /s $script | Out-Host
  if ($LASTEXITCODE -ne 0) { throw "diskpart: $LASTEXITCODE" }
}

function Test-On([string]$Letter, [string[]]$Tests) {
  $env:REBUILD_CACHE_TEST_DIR = "${Letter}:\"
  deno test -A --no-check @Tests
  if ($LASTEXITCODE -ne 0) { throw "Tests failed on ${Letter}:" }
}

New-Disk -Letter X -Megabytes 2048
Format-Volume -DriveLetter X -FileSystem exFAT | Out-Host
Test-On X tests/systems, tests/clear/clear_test.ts, tests/cache/cache_test.ts

New-Disk -Letter Y -Megabytes 61440 # a Dev Drive has 50 GB at least
Format-Volume -DriveLetter Y -DevDrive | Out-Host
Test-On Y tests/systems, tests/clear, tests/link, tests/cache, tests/rebuild
