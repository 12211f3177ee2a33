/** All permissions that this service knows. */
export const PERMISSIONS = [
  'notif.ingest',
  'notif.read.audit',
  'notif.read.client',
  'notif.read.log',
  'notif.read.recipient',
  'notif.read.schema',
  'notif.read.template',
  'notif.replay',
  'notif.send.test',
  'notif.write.config',
  'notif.write.template',
  'notif.write.template.raw',
  'notif.erase',
] as const;

export type Permission = (typeof PERMISSIONS)[number];
