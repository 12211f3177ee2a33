import { join } from 'node:path';
import { run } from './processes.ts';
import { installDebianPackages } from './sources.ts';

/** Tools of one Java installation. */
export interface Java {
  java: string;
  keytool: string;
}

// Minimum version for Kafka 4.
const oldestVersion = 17;

/** Returns Java 17 or newer, and installs it if possible. */
export async function findJava(): Promise<Java | undefined> {
  return (await findInstalledJava()) ?? (await installed('default-jre-headless', findInstalledJava));
}

/** Returns the command of Maven, and installs it if possible. */
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
      // Missing or broken. Tries the next one.
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
