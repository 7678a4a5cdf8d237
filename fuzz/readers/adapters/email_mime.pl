# Email::MIME, the usual MIME library of Perl programs on the web.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Loop;
use Email::MIME;

sub leaves {
    my ($part) = @_;
    my @parts = $part->subparts;
    return map { leaves($_) } @parts if @parts;
    my ($type) = ($part->content_type // 'text/plain') =~ m{^\s*([^;\s]+)};
    my $attached = ($part->header('Content-Disposition') // '') =~ /^\s*attachment/i;
    return Loop::file($type, $attached, $part->filename, $part->body);
}

Loop::run(sub { leaves(Email::MIME->new($_[0])) });
