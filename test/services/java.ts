import { join } from 'node:path';
import { run } from './processes.ts';
import { installDebianPackages } from './sources.ts';

/** The tools of one Java installation. */
export interface Java {
  java: string;
  keytool: string;
}

// What a Kafka 4 broker needs at least.
const oldestVersion = 17;

/** Java 17 or newer, installed first where that is possible. */
export async function findJava(): Promise<Java | undefined> {
  return (await findInstalledJava()) ?? (await installed('default-jre-headless', findInstalledJava));
}

/** The command that runs Maven, installed first where that is possible. */
export async function findMaven(): Promise<string | undefined> {
  return (await findInstalledMaven()) ?? (await installed('maven', findInstalledMaven));
}

async function findInstalledJava(): Promise<Java | undefined> {
  const home = process.env.JAVA_HOME;
  for (const command of home ? [join(home, 'bin', 'java'), 'java'] : ['java']) {
    try {
      const { stderr } = await run(command, ['-XshowSettings:properties', '-version']);
      const version = Number(/java\.specification\.version = (\S+)/.exec(stderr)?.[1]);
      const javaHome = /java\.home = (.+)/.exec(stderr)?.[1]?.trim();
      if (version >= oldestVersion && javaHome !== undefined) {
        return { java: join(javaHome, 'bin', 'java'), keytool: join(javaHome, 'bin', 'keytool') };
      }
    } catch {
      // Not there, or not in working order: the next one may be.
    }
  }
  return undefined;
}

async function findInstalledMaven(): Promise<string | undefined> {
  return run('mvn', ['--version']).then(
    () => 'mvn',
    () => undefined,
  );
}

async function installed<T>(debianPackage: string, find: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    await installDebianPackages(debianPackage);
  } catch {
    return undefined;
  }
  return find();
}
