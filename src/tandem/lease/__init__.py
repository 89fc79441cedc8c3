"""Who holds what, until when. Pure: times come in as arguments, in UTC seconds."""
