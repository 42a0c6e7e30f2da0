// SIP response codes in words for the person who called.

const WORDS = {
  100: 'Calling…',
  180: 'Ringing',
  181: 'The call is being forwarded',
  182: 'The call is waiting in a queue',
  183: 'Connecting',
  301: 'The number has moved',
  302: 'The number has moved for now',
  400: 'The phone server did not understand the call',
  401: 'The phone server wants a password',
  402: 'The phone server wants a payment',
  403: 'The phone server does not allow this call',
  404: 'This number does not exist',
  405: 'The phone server does not take calls',
  406: 'The other side cannot take this kind of call',
  407: 'The phone server wants a password',
  408: 'Nobody answered',
  410: 'This number is no longer in service',
  415: 'The other side does not take this kind of audio',
  420: 'The other side lacks a feature this call needs',
  421: 'The other side wants a feature this call lacks',
  423: 'The phone server wants a longer interval',
  480: 'Not reachable right now',
  481: 'The call is no longer there',
  482: 'The call went in circles',
  483: 'The call was forwarded too often',
  484: 'The number is incomplete',
  485: 'The number is ambiguous',
  486: 'Busy',
  487: 'The call was cancelled',
  488: 'No audio format in common',
  491: 'Both sides changed the call at once',
  493: 'The other side could not decrypt the call',
  500: 'The phone server failed',
  501: 'The phone server does not support this call',
  502: 'The phone server got a bad answer on the way',
  503: 'The phone service is not available right now',
  504: 'The phone server did not get an answer in time',
  513: 'The call request was too long',
  600: 'Busy everywhere',
  603: 'The call was declined',
  604: 'This number does not exist anywhere',
  606: 'No audio format in common',
  607: 'The call was declined as unwanted',
  608: 'The call was blocked on the way',
};

const CLASSES = {
  1: 'Calling…',
  2: 'Answered',
  3: 'The number has moved',
  4: 'The call could not be placed',
  5: 'The phone server failed',
  6: 'The call was refused',
};

/** A SIP response code in words, for example 486 is "Busy". */
export function sipReason(code) {
  return WORDS[code] ?? CLASSES[Math.floor(code / 100)] ?? `SIP code ${code}`;
}
