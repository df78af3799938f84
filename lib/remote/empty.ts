/** The SHA-256 of nothing. Such a content is everywhere, and is never asked for. */
export const EMPTY =
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
