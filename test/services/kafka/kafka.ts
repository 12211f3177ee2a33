import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Kafka, logLevel, type KafkaConfig } from 'kafkajs';
import { findJava, findMaven, type Java } from '../java.ts';
import { freePort, inNewDirectory, run, startServerProcess } from '../processes.ts';
import { exists, whenItAnswers } from '../sources.ts';

export interface KafkaOptions {
  /**
   * Clients must connect with TLS and log in as this user, with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
   * Letters, digits, `-` and `_` only, because Kafka's configuration has no quoting that covers the rest.
   */
  secure?: { username: string; password: string };
}

export interface RunningKafka {
  /** For a client's configuration: `host:port`. */
  brokers: string;
  /** The certificate, as PEM, that a client of a secure broker has to trust. */
  ca?: string;
  pid: number;
  /** Suspends the broker: its connections stay open, but it does not answer. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

interface Ports {
  client: number;
  controller: number;
  internal: number;
}

const pom = fileURLToPath(new URL('pom.xml', import.meta.url));
const cache = fileURLToPath(new URL('../../../node_modules/.cache/notification-subgraph/', import.meta.url));
const keystorePassword = 'throw-away';

/** Starts an Apache Kafka: one node that is broker and controller, with its data in a temporary directory. */
export async function startKafka(options: KafkaOptions = {}): Promise<RunningKafka> {
  const { secure } = options;
  if (secure !== undefined && !/^[\w-]+$/.test(secure.username + secure.password)) {
    throw new Error('The username and the password may contain letters, digits, "-" and "_" only');
  }
  const java = await findJava();
  if (java === undefined) throw new Error('Kafka needs Java 17 or newer, and none could be found or installed');
  const classpath = join(await provideJars(), '*');

  return inNewDirectory('kafka', (directory) => startIn(directory, java, classpath, secure));
}

/** Checks that every broker answers at its advertised address and that consumer groups work. */
export async function askKafka(brokers: string, config: Partial<KafkaConfig> = {}): Promise<void> {
  const kafka = new Kafka({
    brokers: brokers.split(','),
    connectionTimeout: 3000,
    requestTimeout: 3000,
    retry: { retries: 0 },
    logLevel: logLevel.NOTHING,
    ...config,
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    await admin.listGroups();
    // The first request for a group makes a new broker create its topic for group offsets.
    await admin.describeGroups(['is-it-ready']);
  } finally {
    await admin.disconnect();
  }
}

async function startIn(
  directory: string,
  java: Java,
  classpath: string,
  secure: KafkaOptions['secure'],
): Promise<RunningKafka> {
  const ports = { client: await freePort(), controller: await freePort(), internal: await freePort() };
  const keystore = join(directory, 'broker.p12');
  const properties = join(directory, 'server.properties');
  const lines = [
    ...commonProperties(directory, ports),
    ...(secure ? secureListeners(ports, secure, keystore) : plainListeners(ports)),
  ];
  await writeFile(properties, lines.join('\n'));

  const [, ca] = await Promise.all([
    formatStorage(java, classpath, properties, secure),
    secure && createCertificate(java, keystore),
  ]);
  const server = await startServerProcess({
    command: java.java,
    // Serial collector and first compiler only, so that the broker starts faster and leaves CPU time to the tests.
    args: [
      '-Xmx512m',
      '-XX:+UseSerialGC',
      '-XX:TieredStopAtLevel=1',
      ...javaArgs(classpath),
      'kafka.Kafka',
      properties,
    ],
    directory,
    // No controlled shutdown, because the data is deleted anyway.
    stopSignal: 'SIGKILL',
  });

  const brokers = `127.0.0.1:${ports.client}`;
  const login: Partial<KafkaConfig> =
    secure && ca ? { ssl: { ca: [ca] }, sasl: { mechanism: 'plain', ...secure } } : {};
  const { stop } = await whenItAnswers('Kafka', server, brokers, (url) => askKafka(url, login));
  return {
    brokers,
    ...(ca ? { ca } : {}),
    pid: server.pid,
    pause: () => void process.kill(server.pid, 'SIGSTOP'),
    resume: () => void process.kill(server.pid, 'SIGCONT'),
    stop,
  };
}

function commonProperties(directory: string, { controller }: Ports): string[] {
  return [
    'process.roles=broker,controller',
    'node.id=1',
    `log.dirs=${join(directory, 'data')}`,
    `controller.quorum.bootstrap.servers=127.0.0.1:${controller}`,
    'controller.listener.names=CONTROLLER',
    'num.partitions=3',
    'auto.create.topics.enable=false',
    // Larger than our own limit, so that the tests reach ours.
    'message.max.bytes=4194304',
    'replica.fetch.max.bytes=4194304',
    // A single node needs no replication, and the first member of a group does not have to wait for others.
    'offsets.topic.replication.factor=1',
    'offsets.topic.num.partitions=4',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    'group.initial.rebalance.delay.ms=0',
  ];
}

function plainListeners({ client, controller }: Ports): string[] {
  return [`listeners=PLAINTEXT://127.0.0.1:${client},CONTROLLER://127.0.0.1:${controller}`];
}

function secureListeners(ports: Ports, user: { username: string; password: string }, keystore: string): string[] {
  const { client, controller, internal } = ports;
  const modules = 'org.apache.kafka.common.security';
  const scram = `${modules}.scram.ScramLoginModule required;`;
  return [
    `listeners=CLIENT://127.0.0.1:${client},INTERNAL://127.0.0.1:${internal},CONTROLLER://127.0.0.1:${controller}`,
    'listener.security.protocol.map=CLIENT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name=INTERNAL',
    `ssl.keystore.location=${keystore}`,
    `ssl.keystore.password=${keystorePassword}`,
    'ssl.keystore.type=PKCS12',
    'listener.name.client.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    `listener.name.client.plain.sasl.jaas.config=${modules}.plain.PlainLoginModule required ` +
      `user_${user.username}="${user.password}";`,
    `listener.name.client.scram-sha-256.sasl.jaas.config=${scram}`,
    `listener.name.client.scram-sha-512.sasl.jaas.config=${scram}`,
  ];
}

async function formatStorage(
  java: Java,
  classpath: string,
  properties: string,
  user: KafkaOptions['secure'],
): Promise<void> {
  // Kafka's notation of a UUID: 16 bytes as unpadded base64url, which must not look like an option.
  const clusterId = `k${randomBytes(16).toString('base64url').slice(1)}`;
  // PLAIN compares with the configuration; the SCRAM credentials are part of the cluster's metadata.
  const credentials = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) =>
    user ? ['--add-scram', `${mechanism}=[name=${user.username},password=${user.password}]`] : [],
  );
  const format = ['format', '--standalone', '-t', clusterId, '-c', properties, ...credentials];
  await run(java.java, ['-XX:TieredStopAtLevel=1', ...javaArgs(classpath), 'kafka.tools.StorageTool', ...format]);
}

/** A self-signed certificate for this machine, in a keystore for the broker and as PEM for its clients. */
async function createCertificate(java: Java, keystore: string): Promise<string> {
  const store = ['-alias', 'broker', '-keystore', keystore, '-storetype', 'PKCS12', '-storepass', keystorePassword];
  const key = ['-keyalg', 'EC', '-groupname', 'secp256r1', '-validity', '30'];
  const names = ['-dname', 'CN=localhost', '-ext', 'SAN=ip:127.0.0.1,dns:localhost'];
  await run(java.keytool, ['-genkeypair', ...store, ...key, ...names]);
  const { stdout } = await run(java.keytool, ['-exportcert', '-rfc', ...store]);
  return stdout;
}

function javaArgs(classpath: string): string[] {
  return ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-cp', classpath];
}

/** Returns the directory with the jars of pom.xml. They are downloaded once for each version of Kafka. */
async function provideJars(): Promise<string> {
  const version = /<kafka\.version>(.+)<\/kafka\.version>/.exec(await readFile(pom, 'utf8'))?.[1];
  if (version === undefined) throw new Error(`${pom} names no kafka.version`);
  const home = join(cache, `kafka-${version}`);
  const jars = join(home, 'lib');
  if (await exists(jars)) return jars;

  const maven = await findMaven();
  if (maven === undefined)
    throw new Error('Kafka needs Maven to download its jars, but Maven could not be found or installed');
  await mkdir(cache, { recursive: true });
  // Renamed after the download, so that an interrupted download does not look complete.
  const download = await mkdtemp(join(cache, 'download-'));
  try {
    const destination = `-DoutputDirectory=${join(download, 'lib')}`;
    const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', destination];
    await run(maven, ['-q', '-B', '-f', pom, ...goal], { timeoutMs: 600_000 });
    await rename(download, home);
  } catch (error) {
    await rm(download, { recursive: true, force: true });
    // Another test run was faster.
    if (!(await exists(jars))) throw error;
  }
  return jars;
}
