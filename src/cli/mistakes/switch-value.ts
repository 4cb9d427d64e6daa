/** A switch may be followed by one of these, and nobody has such a name. */
export const SWITCH_VALUE = /^(?:true|false|yes|no|on|off)$/i;
