import type { AddressInfo } from 'node:net';
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
  /** Decides the answer to each mail, after its content came in; rejecting refuses it. Replace it in a test. */
  onMail: (mail: ReceivedMail) => Promise<void> | void;
  /** Decides on each recipient; throwing refuses it. */
  onRecipient: (address: string) => Promise<void> | void;
  /** How many connections were opened. */
  connections: number;
  close(): Promise<void>;
}

/** An SMTP reply that refuses, with its code. */
export const smtpError = (responseCode: number, message: string): Error =>
  Object.assign(new Error(message), { responseCode });

/** A real SMTP server that keeps what it is given. */
export async function startSmtpSink(): Promise<SmtpSink> {
  const sink: SmtpSink = {
    port: 0,
    mails: [],
    onMail: () => {},
    onRecipient: () => {},
    connections: 0,
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
  // A client that is gone before its answer.
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
