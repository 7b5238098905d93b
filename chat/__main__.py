"""`python -m chat`."""

from chat.command import main

main(prog_name="chat")
