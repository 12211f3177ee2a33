import { type AddressInfo, createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

import type { Certificate } from './certificates.ts';

/** Closes the connection instead of a reply. */
export const CLOSE = Symbol('close');
/** Never replies. */
export const HANG = Symbol('hang');
/** Sends a line of a reply that never ends, every few milliseconds. */
export const DRIP = Symbol('drip');

/** A reply: complete lines without the last line break, or what the relay does instead. */
export type Reply = string | typeof CLOSE | typeof HANG | typeof DRIP;

/** `GREETING` is sent after the connection, `CONTENT` after the final dot, `CHUNK` after the first bytes of the content. */
export type Step =
  | 'GREETING'
  | 'EHLO'
  | 'HELO'
  | 'STARTTLS'
  | 'AUTH'
  | 'MAIL'
  | 'RCPT'
  | 'DATA'
  | 'CHUNK'
  | 'CONTENT'
  | 'RSET'
  | 'QUIT';

export interface RelayScript {
  replies?: Partial<Record<Step, Reply>>;
  /** Extensions of the EHLO reply, before TLS. */
  extensions?: string[];
  /** Extensions after STARTTLS. Default: as before, without STARTTLS. */
  secureExtensions?: string[];
  /** Certificate for STARTTLS and implicit TLS; without one, TLS handshakes fail. */
  certificate?: Certificate;
  isImplicitTls?: boolean;
  lineBreak?: string;
}

/** A relay that behaves as a script says. */
export interface ScriptedRelay {
  port: number;
  /** Commands of all connections, without the content of mails. */
  commands: string[];
  /** Mails whose final dot arrived. */
  contents: string[];
  /** Number of connections that were encrypted. */
  encrypted: number;
  connections: number;
  close(): Promise<void>;
}

const DEFAULTS: Record<Step, Reply> = {
  GREETING: '220 relay.example ESMTP',
  EHLO: '',
  HELO: '250 relay.example',
  STARTTLS: '220 2.0.0 ready',
  AUTH: '235 2.7.0 welcome',
  MAIL: '250 2.1.0 ok',
  RCPT: '250 2.1.5 ok',
  DATA: '354 go on',
  CHUNK: '',
  CONTENT: '250 2.0.0 Ok: queued as 4TQX1Y2Z3w',
  RSET: '250 2.0.0 ok',
  QUIT: '221 2.0.0 bye',
};

/** Starts a relay that records all commands and replies as the script says. Everything else succeeds. */
export async function startScriptedRelay(script: RelayScript): Promise<ScriptedRelay> {
  const sockets = new Set<Socket>();
  const relay: ScriptedRelay = {
    port: 0,
    commands: [],
    contents: [],
    encrypted: 0,
    connections: 0,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    relay.connections += 1;
    if (script.isImplicitTls) encrypt(relay, script, socket, () => {});
    else serve(relay, script, socket, { isSecure: false });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  relay.port = (server.address() as AddressInfo).port;
  return relay;
}

function encrypt(relay: ScriptedRelay, script: RelayScript, socket: Socket, onSecure: () => void): void {
  const { certificate } = script;
  if (!certificate) return void socket.once('data', () => socket.destroy());
  const secured = new TLSSocket(socket, { isServer: true, key: certificate.key, cert: certificate.cert });
  secured.on('error', () => {});
  secured.once('secure', () => {
    relay.encrypted += 1;
    onSecure();
    if (script.isImplicitTls) serve(relay, script, secured, { isSecure: true });
    else serve(relay, script, secured, { isSecure: true, isUpgraded: true });
  });
}

interface Connection {
  isSecure: boolean;
  isUpgraded?: boolean;
}

function serve(relay: ScriptedRelay, script: RelayScript, socket: Socket, { isSecure, isUpgraded }: Connection): void {
  const { lineBreak = '\r\n', extensions = [] } = script;
  const { secureExtensions = extensions.filter((name) => name !== 'STARTTLS') } = script;
  let rest = '';
  let isContent = false;

  const reply = (step: Step): boolean => {
    const text = script.replies?.[step] ?? (step === 'EHLO' ? ehlo() : DEFAULTS[step]);
    if (text === CLOSE) socket.destroy();
    else if (text === DRIP) {
      const timer = setInterval(() => socket.write(`250-wait${lineBreak}`), 20);
      socket.on('close', () => clearInterval(timer));
    } else if (typeof text === 'string' && text !== '') socket.write(text.replaceAll('\n', lineBreak) + lineBreak);
    return typeof text === 'string';
  };
  const ehlo = (): string => {
    const lines = ['relay.example', ...(isSecure ? secureExtensions : extensions)];
    return lines.map((line, index) => `250${index === lines.length - 1 ? ' ' : '-'}${line}`).join('\n');
  };

  const onData = (chunk: Buffer): void => {
    rest += chunk.toString('utf8');
    for (;;) {
      if (isContent) {
        if (script.replies?.CHUNK !== undefined && rest !== '') return void reply('CHUNK');
        const end = rest.startsWith('.\r\n') ? 0 : rest.indexOf('\r\n.\r\n') + 2;
        if (end === 1) return;
        relay.contents.push(rest.slice(0, end));
        rest = rest.slice(end + 3);
        isContent = false;
        if (!reply('CONTENT')) return;
        continue;
      }
      const end = rest.indexOf('\r\n');
      if (end === -1) return;
      const command = rest.slice(0, end);
      rest = rest.slice(end + 2);
      relay.commands.push(command);
      const step = command.slice(0, command.search(/[ :]|$/)).toUpperCase() as Step;
      if (!(step in DEFAULTS)) {
        socket.write(`500 5.5.2 unknown command${lineBreak}`);
        continue;
      }
      if (step === 'STARTTLS' && !(isSecure ? [] : extensions).includes('STARTTLS') && !script.replies?.STARTTLS) {
        socket.write(`502 5.5.1 not available${lineBreak}`);
        continue;
      }
      if (!reply(step)) return;
      const answer = script.replies?.[step] ?? DEFAULTS[step];
      if (step === 'DATA') isContent = String(answer).startsWith('354');
      if (step === 'QUIT') socket.end();
      if (step === 'STARTTLS' && String(answer).startsWith('220')) {
        socket.off('data', onData);
        return encrypt(relay, script, socket, () => {});
      }
    }
  };
  socket.on('data', onData);
  if (!isUpgraded) reply('GREETING');
}
