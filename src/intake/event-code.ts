/** Pattern of event codes and categories. JSON Schemas use it too. */
export const EVENT_CODE_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$';

export const isEventCode = (text: string): boolean => new RegExp(EVENT_CODE_PATTERN).test(text);
