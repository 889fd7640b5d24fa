"""The networks of other programs, written anew from their description: what an imported net must compute."""
