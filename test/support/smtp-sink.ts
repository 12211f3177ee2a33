import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { callbackify } from 'node:util';

import { type ParsedMail, simpleParser } from 'mailparser';
import { SMTPServer, type SMTPServerSession } from 'smtp-server';

export interface ReceivedMail {
  envelope: { from: string; to: string[] };
  mail: ParsedMail;
  raw: string;
}

export interface SmtpSink {
  port: number;
  mails: ReceivedMail[];
  /** Called after the content of each mail. Rejecting refuses the mail. Tests may replace it. */
  onMail: (mail: ReceivedMail) => Promise<void> | void;
  /** Called for each recipient. Throwing refuses it. */
  onRecipient: (address: string) => Promise<void> | void;
  /** Number of opened connections. */
  connections: number;
  /** Breaks all open connections, so that a mail in transfer gets no reply. */
  breakConnections(): void;
  close(): Promise<void>;
}

/** An SMTP error reply with its code. */
export const smtpError = (responseCode: number, message: string): Error =>
  Object.assign(new Error(message), { responseCode });

/** An SMTP server that stores mails. */
export async function startSmtpSink(): Promise<SmtpSink> {
  const sockets = new Set<Socket>();
  const sink: SmtpSink = {
    port: 0,
    mails: [],
    onMail: () => {},
    onRecipient: () => {},
    connections: 0,
    breakConnections: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
  const server = new SMTPServer({
    authOptional: true,
    allowInsecureAuth: true,
    onAuth: ({ username = '' }, _session, done) => done(null, { user: username }),
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    onConnect: (_session, done) => {
      sink.connections += 1;
      done();
    },
    onRcptTo: ({ address }, _session, done) => {
      callbackify(async () => sink.onRecipient(address))((error) => done(error));
    },
    onData: (stream, session, done) => {
      callbackify(async () => {
        const raw = await buffer(stream);
        const received = { envelope: envelopeOf(session), mail: await simpleParser(raw), raw: raw.toString() };
        await sink.onMail(received);
        sink.mails.push(received);
      })((error) => done(error));
    },
  });
  server.server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // The client disconnected before the reply.
  server.on('error', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  sink.port = (server.server.address() as AddressInfo).port;
  return sink;
}

function envelopeOf({ envelope }: SMTPServerSession): ReceivedMail['envelope'] {
  return {
    from: envelope.mailFrom === false ? '' : envelope.mailFrom.address,
    to: envelope.rcptTo.map(({ address }) => address),
  };
}
