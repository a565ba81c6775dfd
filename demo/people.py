"""Who is in the demo: Ada, who teaches the bot by a script, and the person who watches."""

ADA, YOU = 1001, 1002  # Their ids, and those of their private chats.
PEOPLE = ((YOU, "You"), (ADA, "Ada"))
