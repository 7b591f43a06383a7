// Numbers as text.

/** A number with so many decimals; what rounds to nothing has no sign: 0.000, never -0.000. */
export const fixed = (value, digits) => value.toFixed(digits).replace(/^-(?=0(\.0*)?$)/, "");
