# Installs the rebuild-cache binary on Windows, without administrator's rights:
#
#   irm https://github.com/rebuild-cache/rebuild-cache/releases/latest/download/install.ps1 | iex
#
# REBUILD_CACHE_VERSION   a version, such as 0.1.0 (default: the latest)
# REBUILD_CACHE_INSTALL   where to put it (default: %LOCALAPPDATA%\rebuild-cache)
# REBUILD_CACHE_RELEASES  another place to download from
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

$releases = if ($env:REBUILD_CACHE_RELEASES) { $env:REBUILD_CACHE_RELEASES }
  else { 'https://github.com/rebuild-cache/rebuild-cache/releases' }
$folder = if ($env:REBUILD_CACHE_INSTALL) { $env:REBUILD_CACHE_INSTALL }
  else { Join-Path $env:LOCALAPPDATA 'rebuild-cache' }
$version = $env:REBUILD_CACHE_VERSION
$from = if ($version) { "$releases/download/v$($version.TrimStart('v'))" }
  else { "$releases/latest/download" }
$machine = switch ([System.Runtime.InteropServices.RuntimeInformation]::OSArchitecture) {
  'X64' { 'x86_64' }
  'Arm64' { 'aarch64' }
  default { throw "install.ps1: there is no binary for $_" }
}
$archive = "rebuild-cache-$machine-pc-windows-msvc.zip"

$temporary = Join-Path ([System.IO.Path]::GetTempPath()) ([System.IO.Path]::GetRandomFileName())
New-Item -ItemType Directory -Path $temporary | Out-Null
try {
  foreach ($name in 'SHA256SUMS', $archive) {
    try {
      Invoke-WebRequest -UseBasicParsing -Uri "$from/$name" -OutFile (Join-Path $temporary $name)
    } catch {
      throw "install.ps1: cannot download $from/${name}: no network, or no such version ($_)"
    }
  }
  $line = Get-Content (Join-Path $temporary 'SHA256SUMS') |
    Where-Object { ($_ -split '\s+\*?')[1] -eq $archive }
  if (-not $line) { throw "install.ps1: SHA256SUMS does not name ${archive}: nothing was installed" }
  $wanted = ($line -split '\s+')[0]
  $found = (Get-FileHash -Algorithm SHA256 (Join-Path $temporary $archive)).Hash.ToLower()
  if ($found -ne $wanted) {
    throw "install.ps1: $archive is not what it should be (SHA-256 $found, not $wanted): nothing was installed"
  }
  Expand-Archive -Path (Join-Path $temporary $archive) -DestinationPath $temporary -Force
  New-Item -ItemType Directory -Path $folder -Force | Out-Null
  Copy-Item -Force (Join-Path $temporary 'rebuild-cache.exe') (Join-Path $folder 'rebuild-cache.exe')
  Write-Output "Installed $(Join-Path $folder 'rebuild-cache.exe')"
  if (($env:PATH -split ';') -notcontains $folder) { Write-Output "Add $folder to your PATH" }
} finally {
  Remove-Item -Recurse -Force $temporary
}
