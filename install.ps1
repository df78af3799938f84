# Installs the rebuild-cache binary on Windows, without administrator's rights:
#
#   irm https://github.com/rebuild-cache/rebuild-cache/releases/latest/download/install.ps1 | iex
#   & ([scriptblock]::Create((irm …/install.ps1))) -Version 0.1.0 -To D:\tools
#   & ([scriptblock]::Create((irm …/install.ps1))) -Uninstall
#
# -Version, REBUILD_CACHE_VERSION  such as 0.1.0 (default: the latest)
# -To, REBUILD_CACHE_INSTALL       where to put it (default: %LOCALAPPDATA%\Programs\rebuild-cache)
# -Uninstall                       removes it from there
# REBUILD_CACHE_RELEASES           another place to download from
#
# A newer version that is there is replaced by an older one only if that was asked for.

# A scope of its own: `iex` would change the preferences and variables of the session.
& {
  param([string]$Version, [string]$To, [switch]$Uninstall)
  $ErrorActionPreference = 'Stop'
  $ProgressPreference = 'SilentlyContinue' # it makes downloads slow
  Set-StrictMode -Off

  # The version of a binary, if it is one of ours that runs.
  function Get-BinaryVersion([string]$Path) {
    if (-not (Test-Path -LiteralPath $Path)) { return '' }
    try {
      $said = & $Path --version 2>$null | Select-Object -First 1
      if ($said -match '^rebuild-cache (\d+\.\d+\.\d+\S*)') { return $Matches[1] }
    } catch {
      return ''
    }
    return ''
  }

  # Whether a version is older than another. What has a suffix comes before what has none.
  function Test-Older([string]$One, [string]$Other) {
    $a, $aSuffix = $One -split '-', 2
    $b, $bSuffix = $Other -split '-', 2
    if ([version]$a -ne [version]$b) { return [version]$a -lt [version]$b }
    if (-not $aSuffix -or -not $bSuffix) { return [bool]$aSuffix -and -not $bSuffix }
    return [string]::CompareOrdinal($aSuffix, $bSuffix) -lt 0
  }

  # A binary that runs can't be removed, but renamed: the next run removes it.
  function Clear-Aside([string]$Folder) {
    Get-ChildItem -LiteralPath $Folder -Filter 'rebuild-cache.exe.old-*' -ErrorAction SilentlyContinue |
      ForEach-Object { Remove-Item -LiteralPath $_.FullName -Force -ErrorAction SilentlyContinue }
  }
  function Move-Aside([string]$Path) {
    if (-not (Test-Path -LiteralPath $Path)) { return '' }
    $aside = "$Path.old-$([System.IO.Path]::GetRandomFileName())"
    Move-Item -LiteralPath $Path -Destination $aside
    return $aside
  }

  $repository = 'rebuild-cache/rebuild-cache'
  $releases = if ($env:REBUILD_CACHE_RELEASES) { $env:REBUILD_CACHE_RELEASES }
    else { "https://github.com/$repository/releases" }
  if (-not $Version) { $Version = $env:REBUILD_CACHE_VERSION }
  if (-not $To) { $To = $env:REBUILD_CACHE_INSTALL }
  if (-not $To) { $To = Join-Path $env:LOCALAPPDATA 'Programs\rebuild-cache' }
  if ($Version) { $Version = $Version.TrimStart('v') }
  if ($Version -eq 'latest') { $Version = '' }
  if ($Version -match '[^0-9A-Za-z.+-]') { throw "install.ps1: ""$Version"" is not a version" }
  $binary = Join-Path $To 'rebuild-cache.exe'

  if ($Uninstall) {
    if (-not (Test-Path -LiteralPath $binary)) {
      throw "install.ps1: there is no ${binary}: say where with -To"
    }
    if (-not (Get-BinaryVersion $binary)) {
      throw "install.ps1: $binary does not say that it is rebuild-cache: nothing was removed"
    }
    Move-Aside $binary | Out-Null
    Clear-Aside $To
    Write-Output "Removed $binary"
    Write-Output 'Caches stay where they are'
    return
  }

  $machine = switch ([System.Runtime.InteropServices.RuntimeInformation]::OSArchitecture) {
    'X64' { 'x86_64' }
    'Arm64' { 'aarch64' }
    default { throw "install.ps1: there is no binary for $_, only for X64 and Arm64" }
  }
  $archive = "rebuild-cache-$machine-pc-windows-msvc.zip"
  $from = if ($Version) { "$releases/download/v$Version" } else { "$releases/latest/download" }

  $temporary = Join-Path ([System.IO.Path]::GetTempPath()) ([System.IO.Path]::GetRandomFileName())
  New-Item -ItemType Directory -Path $temporary | Out-Null
  # PowerShell 5.1 may not offer TLS 1.2 by itself. This is the process's, not the scope's.
  $protocol = [Net.ServicePointManager]::SecurityProtocol
  try {
    if ($PSVersionTable.PSVersion.Major -lt 6) {
      [Net.ServicePointManager]::SecurityProtocol = $protocol -bor [Net.SecurityProtocolType]::Tls12
    }
    foreach ($name in 'SHA256SUMS', $archive) {
      try {
        Invoke-WebRequest -UseBasicParsing -Uri "$from/$name" -OutFile (Join-Path $temporary $name)
      } catch {
        throw "install.ps1: cannot download $from/${name}: no network, or no such version ($_)"
      }
    }
    $line = Get-Content -LiteralPath (Join-Path $temporary 'SHA256SUMS') |
      Where-Object { ($_ -split '\s+\*?')[1] -eq $archive }
    if (-not $line) { throw "install.ps1: SHA256SUMS does not name ${archive}: nothing was installed" }
    $wanted = ($line -split '\s+')[0]
    $found = (Get-FileHash -Algorithm SHA256 -LiteralPath (Join-Path $temporary $archive)).Hash.ToLower()
    if ($found -ne $wanted) {
      throw "install.ps1: $archive is not what it should be (SHA-256 $found, not $wanted): nothing was installed"
    }
    Expand-Archive -LiteralPath (Join-Path $temporary $archive) -DestinationPath $temporary -Force
    $fresh = Join-Path $temporary 'rebuild-cache.exe'

    # Where GitHub's command is there and logged in, it must know who built the binary.
    if (Get-Command gh -ErrorAction SilentlyContinue) {
      # In 5.1, what a program writes to stderr would end the script.
      $ErrorActionPreference = 'Continue'
      gh auth status 2>&1 | Out-Null
      $loggedIn = $LASTEXITCODE -eq 0
      if ($loggedIn) {
        gh attestation verify --help 2>&1 | Out-Null
        $loggedIn = $LASTEXITCODE -eq 0 # an old one does not know it
      }
      if ($loggedIn) {
        $said = gh attestation verify $fresh --repo $repository 2>&1
        $verified = $LASTEXITCODE -eq 0
      }
      $ErrorActionPreference = 'Stop'
      if ($loggedIn -and -not $verified) {
        throw "install.ps1: gh attestation verify: $($said | Select-Object -Last 1): nothing was installed"
      }
      if ($loggedIn) { Write-Output "Attested: built by a workflow of $repository" }
    }

    $has = Get-BinaryVersion $fresh
    if (-not $has) { throw 'install.ps1: the binary does not run on this machine: nothing was installed' }
    $old = Get-BinaryVersion $binary
    if (-not $Version -and $old -and (Test-Older $has $old)) {
      Write-Output "rebuild-cache $old is installed, which is newer than ${has}: it stays. To have the older one, say -Version $has"
      return
    }
    New-Item -ItemType Directory -Path $To -Force | Out-Null
    Clear-Aside $To
    # Beside its place first, then renamed.
    $new = Join-Path $To "rebuild-cache.exe.new-$([System.IO.Path]::GetRandomFileName())"
    Copy-Item -LiteralPath $fresh -Destination $new
    $aside = Move-Aside $binary
    try {
      Move-Item -LiteralPath $new -Destination $binary
    } catch {
      if ($aside) { Move-Item -LiteralPath $aside -Destination $binary }
      Remove-Item -LiteralPath $new -Force
      throw
    }
    Clear-Aside $To
    $was = if ($old) { ", was $old" } else { '' }
    Write-Output "Installed $binary ($has$was)"
    if (($env:PATH -split ';') -notcontains $To) { Write-Output "Add $To to your PATH" }
  } finally {
    [Net.ServicePointManager]::SecurityProtocol = $protocol
    Remove-Item -Recurse -Force -LiteralPath $temporary
  }
} @args
