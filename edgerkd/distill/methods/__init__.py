"""How a student is trained, one published method a file: its images, its inner attack, its loss terms."""
