import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Environment without the variables of npm scripts, which would make npm use the folder of the running script. */
export const shellEnv = (): NodeJS.ProcessEnv => {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^npm_(package|lifecycle)_|^npm_config_local_prefix$|^(NODE_ENV|NODE_OPTIONS|VITEST.*)$/i.test(name),
  );
  return Object.fromEntries(inherited);
};

/** Runs npm in a folder and returns its standard output. Uses npm's cache when it contains the packages. */
export async function npm(folder: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('npm', args, {
    cwd: folder,
    env: { ...shellEnv(), npm_config_prefer_offline: 'true', npm_config_audit: 'false', npm_config_fund: 'false' },
    shell: process.platform === 'win32',
  });
  return stdout;
}

/** Runs a program of a folder in that folder and returns its standard output. */
export async function program(folder: string, file: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(file, args, { cwd: folder, env: shellEnv() });
  return stdout;
}
